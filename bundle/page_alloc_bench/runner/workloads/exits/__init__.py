# SPDX-License-Identifier: GPL-2.0-only
"""Processes that hold memory die at the same time: how long until it is all free again."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.measuring import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.measuring.bench import Bench

NAME = "exits"
_EACH_S = 1.0  # of a repetition: processes are started, populate, and die


def share_bytes(options: Namespace, cpus: int) -> int:
    """Return how much each process holds where they die on so many CPUs."""
    return user.share_bytes(options.exit_mib << 20, cpus * options.exit_processes)


def _run(bench: Bench) -> None:
    from .measured import Exits

    Exits(bench).run()


WORKLOAD = user.workload(
    NAME,
    isolates="the exit of large processes: freeing in bulk, merging, the zone's lock",
    options=(
        Option(
            "exits",
            Integer(1, 10_000),
            10,
            "how often processes are started and die",
            metavar="N",
            kind="other",
            quick=3,
        ),
        Option(
            "exit_processes",
            Integer(1, 1000),
            1,
            "how many processes die on each CPU",
            metavar="N",
            kind="invalidating",
        ),
        Option(
            "exit_mib",
            Integer(1, 1 << 20),
            256,
            "what each of them holds at most, in MiB; less on a small machine, see run.workloads",
            metavar="MIB",
            unit="MiB",
            kind="invalidating",
        ),
    ),
    run=_run,
    case_s=lambda options: _EACH_S * options.exits,
    process_bytes=share_bytes,
    processes=lambda options: options.exit_processes,
)

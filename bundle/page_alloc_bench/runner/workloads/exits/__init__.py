# SPDX-License-Identifier: GPL-2.0-only
"""Processes that hold memory die at the same time: how long until it is all free again."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.measuring import rate, user
from page_alloc_bench.runner.workload import Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from page_alloc_bench.runner.measuring.bench import Bench
    from page_alloc_bench.runner.measuring.plan import PlannedPhase

NAME = "exits"
_EACH_S = 1.0  # of a repetition: processes are started, populate, and die


def share_bytes(options: Namespace, cpus: int) -> int:
    """Return how much each process holds where they die on so many CPUs."""
    return user.share_bytes(options.exit_mib << 20, cpus * options.exit_processes)


def _plan(options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.measuring.plan import PlannedPhase

    return [PlannedPhase(NAME, order) for order in user.orders(options)]


def _run(bench: Bench) -> None:
    from .measured import Exits

    Exits(bench).run()


def _cases(options: Namespace) -> int:
    return len(options.cpus_steps)


def _seconds(options: Namespace, _order: int) -> dict[str, float]:
    return {NAME: _EACH_S * options.exits * _cases(options)}


def _held(options: Namespace, cpus: Sequence[int]) -> list[int]:
    each = options.exit_processes
    steps = user.steps(options, cpus)
    held = [len(step) * each * share_bytes(options, len(step)) for step in steps]
    return held * len(user.orders(options))


WORKLOAD = Workload(
    name=NAME,
    title=NAME,
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
    patterns=(),
    plan=_plan,
    run=_run,
    seconds={},
    checks=user.CHECKS,
    asked=_seconds,
    shared=(rate.STEPS, user.PAGES),
    cases=_cases,
    held=_held,
    fits=rate.fits,
    needs="a quarter of the available memory at most, Linux 5.14 or newer; fills nothing",
)

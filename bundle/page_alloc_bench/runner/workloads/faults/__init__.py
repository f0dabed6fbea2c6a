# SPDX-License-Identifier: GPL-2.0-only
"""Map memory, populate it, unmap it, again and again: a process on each CPU."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Words
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.measuring import rate, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.measuring.bench import Bench

NAME = "faults"
PROCESSES, THREADS = "processes", "threads"
MOST_BYTES = 128 << 20  # as page_fault1 of will-it-scale maps
_AROUND_S = 0.5  # of a measurement: processes are started and ended


def share_bytes(cpus: int) -> int:
    """Return how much each worker maps where so many work."""
    return user.share_bytes(MOST_BYTES, cpus)


def _run(bench: Bench) -> None:
    from .measured import Faults

    Faults(bench).run()


def _case_s(options: Namespace) -> float:
    each_s: float = rate.warm_up_s(options) + options.duration_s + _AROUND_S
    return each_s * options.repeat  # type: ignore[no-any-return]


WORKLOAD = user.workload(
    NAME,
    isolates="all that user space sees of an allocation: page fault, clearing, unmapping",
    options=(
        Option(
            "fault_by",
            Words(PROCESSES, THREADS),
            [PROCESSES],
            "who faults: processes, or threads of one process",
            metavar="LIST",
            kind="invalidating",
        ),
    ),
    run=_run,
    case_s=_case_s,
    process_bytes=lambda _options, cpus: share_bytes(cpus),
    variants=lambda options: len(options.fault_by),
    shared=(rate.SHARED,),
)

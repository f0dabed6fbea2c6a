# SPDX-License-Identifier: GPL-2.0-only
"""Map memory, populate it, unmap it, again and again: a process on each CPU."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Words
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.measuring import rate, user
from page_alloc_bench.runner.workload import Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from page_alloc_bench.runner.measuring.bench import Bench
    from page_alloc_bench.runner.measuring.plan import PlannedPhase

NAME = "faults"
PROCESSES, THREADS = "processes", "threads"
MOST_BYTES = 128 << 20  # as page_fault1 of will-it-scale maps
_AROUND_S = 0.5  # of a measurement: processes are started and ended


def share_bytes(cpus: int) -> int:
    """Return how much each worker maps where so many work."""
    return user.share_bytes(MOST_BYTES, cpus)


def _plan(options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.measuring.plan import PlannedPhase

    return [PlannedPhase(NAME, order) for order in user.orders(options)]


def _run(bench: Bench) -> None:
    from .measured import Faults

    Faults(bench).run()


def _cases(options: Namespace) -> int:
    return len(options.fault_by) * len(options.cpus_steps)


def _seconds(options: Namespace, _order: int) -> dict[str, float]:
    each_s = rate.warm_up_s(options) + options.duration_s + _AROUND_S
    return {NAME: each_s * options.repeat * _cases(options)}


def _held(options: Namespace, cpus: Sequence[int]) -> list[int]:
    each = [len(step) * share_bytes(len(step)) for step in user.steps(options, cpus)]
    return each * len(options.fault_by) * len(user.orders(options))


WORKLOAD = Workload(
    name=NAME,
    title=NAME,
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
    patterns=(),
    plan=_plan,
    run=_run,
    seconds={},
    checks=user.CHECKS,
    asked=_seconds,
    shared=(rate.SHARED, rate.STEPS, user.PAGES),
    cases=_cases,
    held=_held,
    fits=rate.fits,
    needs="a quarter of the available memory at most, Linux 5.14 or newer; fills nothing",
)

# SPDX-License-Identifier: GPL-2.0-only
"""The default workload: available memory without an antagonist, then with one, order by order."""

from __future__ import annotations

from page_alloc_bench.runner.workload import BESIDE, Counted, Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase

_WITH_ANTAGONIST = ("steady_wait", "antagonized", "stop", "results")


def phases(orders: Sequence[int]) -> list[PlannedPhase]:
    """Return the phases of a run that measures ORDERS and is not cut short.

    All idle phases come before the first antagonist: from 6.7 on it leaves more free memory on the
    lists of the CPUs, which adapt to it (90b41691b988, "mm: add framework for PCP high
    auto-tuning"), than a machine has that was idle. The module is configured before, since what it
    allocates for itself, the same for each order, is in no phase to be missing from.
    """
    from page_alloc_bench.runner.measuring.bench import PlannedPhase

    first, *later = orders
    return [
        PlannedPhase("configure", first),
        *(PlannedPhase("idle", order) for order in orders),
        *(PlannedPhase(name, first) for name in _WITH_ANTAGONIST),
        *(
            PlannedPhase(name, order)
            for order in later
            for name in ("configure", *_WITH_ANTAGONIST)
        ),
    ]


def _run(bench: Bench) -> None:
    from .measured import AvailableMemory

    AvailableMemory(bench).run()


def _counted(_order: int, blocks: int, allocs: int) -> tuple[dict[str, int], int]:
    return {"held": blocks, "spread": blocks}, allocs


WORKLOAD = Workload(
    name="available-memory",
    title="available memory",
    isolates="how much memory user space gets, and how much is lost beside an antagonist",
    options=(),
    patterns=("antagonist",),
    plan=lambda options: phases(options.alloc_orders),
    run=_run,
    needs="nearly all of the memory: it drives the host out of memory on purpose",
    seconds={"configure": 0.05, "steady_wait": 0.2, "stop": 0.05, "results": 0.3},
    fills={"idle": ("iterations", 1.0), "antagonized": ("iterations", BESIDE)},
    counted=Counted("antagonist", "antagonist", _counted),
)

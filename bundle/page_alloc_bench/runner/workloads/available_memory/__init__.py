# SPDX-License-Identifier: GPL-2.0-only
"""The default workload: available memory without an antagonist, then with one, order by order."""

from __future__ import annotations

from page_alloc_bench.runner.workload import Counted, Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.measuring.bench import Bench
    from page_alloc_bench.runner.measuring.plan import PlannedPhase


def _plan(options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.measuring import plan

    return plan.phases(options.alloc_orders)


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
    plan=_plan,
    run=_run,
    needs="nearly all of the memory: it drives the host out of memory on purpose",
    seconds={"configure": 0.05, "steady_wait": 0.2, "stop": 0.05, "results": 0.3},
    counted=Counted("antagonist", "antagonist", _counted),
)

# SPDX-License-Identifier: GPL-2.0-only
"""Ask for blocks that must be there at once (GFP_ATOMIC), beside a process that fills memory."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.option import Integer, Option, Orders
from page_alloc_bench.runner.patterns.atomic import MOST
from page_alloc_bench.runner.workload import BESIDE, Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase

NAME = "atomic"
# A burst of all CPUs asks for so many times what the kernel keeps for such allocations, and for one
# part in so many of the memory at most.
_RESERVES, _PART = 4, 6
# Of the memory one part in so many: reserve_highatomic_pageblock() in mm/page_alloc.c.
_HIGHATOMIC = 100


def _plan(options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.measuring.bench import PlannedPhase

    return [PlannedPhase(NAME, order) for order in options.atomic_orders]


def _run(bench: Bench) -> None:
    from .measured import Atomic

    Atomic(bench).run()


def reserved_pages(order: int) -> int:
    """Return how many pages the kernel keeps for atomic allocations of an order, about."""
    from page_alloc_bench.runner.kernel import memory, procfs

    least = int(memory.sysctl("vm.min_free_kbytes") or 0) << 10
    highatomic = procfs.meminfo().get("MemTotal", 0) // _HIGHATOMIC
    return (least + (highatomic if order else 0)) // procfs.page_size()


def burst_blocks(options: Namespace, order: int, cpus: int) -> int:
    """Return how many blocks each of so many CPUs asks for in a burst."""
    from page_alloc_bench.runner.kernel import procfs

    if options.burst_blocks:
        return int(options.burst_blocks)
    most = procfs.meminfo().get("MemTotal", 0) // procfs.page_size() // _PART
    pages = min(_RESERVES * reserved_pages(order), most)
    return min(max((pages >> order) // cpus, 1), MOST)


def held_bytes(options: Namespace, order: int, cpus: int) -> int:
    """Return what the bursts of so many CPUs hold at most."""
    from page_alloc_bench.runner.kernel import procfs

    return cpus * burst_blocks(options, order, cpus) * (procfs.page_size() << order)


def _held(options: Namespace, cpus: Sequence[int]) -> list[int]:
    return [held_bytes(options, order, len(cpus)) for order in options.atomic_orders]


WORKLOAD = Workload(
    name=NAME,
    title=NAME,
    isolates="GFP_ATOMIC when memory is short: the reserves, and how many allocations fail",
    options=(
        Option(
            "atomic_orders",
            Orders(),
            [0, 3],
            "orders of the blocks that are asked for, one after the other",
            metavar="LIST",
            kind="invalidating",
            always=False,
        ),
        Option(
            "burst_blocks",
            Integer(0, MOST),
            0,
            "blocks that each CPU asks for in a burst, and then gives back; 0: on all CPUs four "
            "times what the kernel keeps for them, which is vm.min_free_kbytes and, above order "
            "0, 1 % of the memory; but a sixth of the memory at most",
            metavar="BLOCKS",
            unit="blocks",
            kind="invalidating",
            always=False,
        ),
        Option(
            "bursts_per_second",
            Integer(1, 500),
            25,
            "bursts of each CPU, which begin on all at the same moments",
            metavar="N",
            kind="invalidating",
            always=False,
        ),
        Option(
            "fills",
            Integer(1, 10_000),
            5,
            "how often a process beside it fills memory, until the OOM killer ends it",
            metavar="N",
            kind="other",
            always=False,
            quick=1,
        ),
    ),
    patterns=(NAME,),
    plan=_plan,
    run=_run,
    seconds={},
    fills={NAME: ("fills", BESIDE)},
    held=_held,
    needs="nearly all of the memory: it drives the host out of memory on purpose",
)

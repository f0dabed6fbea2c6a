# SPDX-License-Identifier: GPL-2.0-only
"""Fragment half of the free memory, then ask for huge pages until there are no more."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Words
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.measuring import rate
from page_alloc_bench.runner.workload import Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase

NAME = "fragment"
PINNED, ISLANDS, MOVABLE = "pinned", "islands", "movable"
# In this order. The kernel's pages make page blocks unmovable, and compaction then leaves them out.
KEPT = (MOVABLE, PINNED, ISLANDS)
_EACH_S = 8.0
_FILLS = 4.5  # of all memory by one CPU take about as long as a case


def _plan(_options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.kernel import huge_pages
    from page_alloc_bench.runner.measuring.bench import PlannedPhase

    return [PlannedPhase(NAME, huge_pages.huge_order())]


def _run(bench: Bench) -> None:
    from .measured import Fragment

    Fragment(bench).run()


def _cases(options: Namespace) -> int:
    return len(options.keep_pages)


def _seconds(options: Namespace, _order: int) -> dict[str, float]:
    from page_alloc_bench.runner.kernel import procfs
    from page_alloc_bench.runner.measuring.user import pace

    all_s = procfs.meminfo().get("MemTotal", 0) / (1 << 30) * pace.seconds_per_gib()
    return {NAME: (_EACH_S + _FILLS * all_s) * _cases(options)}


WORKLOAD = Workload(
    name=NAME,
    title=NAME,
    isolates="fallback to other migrate types, stealing of page blocks, compaction",
    options=(
        Option(
            "keep_pages",
            Words(*KEPT),
            list(KEPT),
            "what is kept of each block: movable (a page of a process), pinned (a page of the "
            "kernel), islands (16 such in 64); always in this order",
            metavar="LIST",
            kind="invalidating",
            quick=[PINNED],
        ),
    ),
    shared=(rate.COUNTERS,),
    patterns=(NAME,),
    plan=_plan,
    run=_run,
    seconds={},
    asked=_seconds,
    cases=_cases,
    needs="most of the free memory for a while, and transparent huge pages; a host not in use",
)

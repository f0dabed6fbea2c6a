# SPDX-License-Identifier: GPL-2.0-only
"""Ask for huge pages at a steady rate, beside processes that keep most of the memory moving."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.measuring import rate
from page_alloc_bench.runner.workload import Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase

NAME = "hugealloc"
SETTLE_S = 5.0  # of churn, before the first huge page is asked for
_FILLS = 1.5  # of all memory by one CPU take about as long as the churn and the ballast


def _plan(_options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.kernel import huge_pages
    from page_alloc_bench.runner.measuring.bench import PlannedPhase

    return [PlannedPhase(NAME, huge_pages.huge_order())]


def _run(bench: Bench) -> None:
    from .measured import HugeAlloc

    HugeAlloc(bench).run()


def _seconds(options: Namespace, _order: int) -> dict[str, float]:
    from page_alloc_bench.runner.kernel import procfs
    from page_alloc_bench.runner.measuring.user import pace

    all_s = procfs.meminfo().get("MemTotal", 0) / (1 << 30) * pace.seconds_per_gib()
    return {NAME: SETTLE_S + _FILLS * all_s + options.duration_s * options.repeat}


WORKLOAD = Workload(
    name=NAME,
    title=NAME,
    isolates="huge pages for those who need them beside others: fallback, compaction, reclaim",
    options=(
        Option(
            "huge_per_second",
            Integer(1, 100_000),
            64,
            "huge pages that are asked for in each second, one after the other; fewer on a small "
            "machine, see run.workloads",
            metavar="N",
            kind="invalidating",
            always=False,
        ),
        Option(
            "churn_percent",
            Integer(1, 90),
            90,
            "of the available memory so much is filled by processes that then give a sixth of it "
            "back, here and there, and go on to give pages back and get others; less on a small "
            "machine, where the kernel may come to keep more than the rest",
            metavar="PERCENT",
            kind="invalidating",
            always=False,
        ),
    ),
    patterns=(),
    plan=_plan,
    run=_run,
    seconds={},
    asked=_seconds,
    shared=(rate.SHARED, rate.COUNTERS),
    needs="most of the available memory, and transparent huge pages; a host not in use",
)

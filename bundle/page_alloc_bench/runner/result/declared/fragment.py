# SPDX-License-Identifier: GPL-2.0-only
"""What the workload fragment measures."""

from __future__ import annotations

from page_alloc_bench.runner.result import event_metrics, huge_metrics, user_metrics
from page_alloc_bench.runner.result.metrics import Better, Kind, Metric, Rank

PHASES = (user_metrics.phase("fragment"),)


def _one(
    name: str, unit: str, better: Better | None, text: str, label: str
) -> Metric:  # fmt: skip
    """Return a metric of which a case has one value."""
    judged = better is not None
    return Metric(
        f"fragment_{name}", unit, better, f"{text}; one item.", Kind.AMOUNT, f"fragment: {label}",
        family=f"fragmentation {'time' if unit == 'ns' else 'state'}" if judged else "",
        rank=Rank.SHOWN if judged else None, in_table=judged, section="fragment",
        subtest="fragment",
    )  # fmt: skip


METRICS = (
    Metric(
        "fragment_huge_pages", "huge pages", "higher",
        "Huge pages that processes got out of the fragmented memory until they got no more; one"
        " item.",
        Kind.SHARE, "fragment: huge pages had", "fragm. huge", of=("fragment_huge_pages_free",),
        family="fragmentation share", rank=Rank.PRIMARY, section="fragment", subtest="fragment",
        remark="{value:,} huge pages had, {share:.1f} % of what was free",
    ),
    _one("huge_pages_free", "huge pages", None, "How many huge pages as much memory as was free"
         " would have been, before any was asked for", "free memory in huge pages"),
    _one("taken_blocks", "blocks", None, "Blocks of the size of a huge page in which pages were"
         " kept", "blocks taken"),
    _one("blocks_before", "blocks", None, "Free blocks of the size of a huge page at first, those"
         " in larger ones too (/proc/buddyinfo)", "whole blocks at first"),
    _one("blocks_fragmented", "blocks", None, "The same once memory was fragmented",
         "whole blocks when fragmented"),
    _one("blocks_back", "blocks", None, "The same once all pages were given back; a page that waits"
         " on a CPU's list keeps its block from being whole", "whole blocks once given back"),
    _one("blocks_recovered", "blocks", None, "The same once the CPUs' lists were emptied of them",
         "whole blocks afterwards"),
    _one("unusable_permille", "1/1000", "lower", "Free memory in pieces too small for a huge page,"
         " once memory was fragmented (unusable free space index)", "unusable free memory"),
    _one("could_be_huge_permille", "1/1000", "higher", "Blocks of the size of a huge page in which"
         " every page is free or can be moved, once memory was fragmented (/proc/kpageflags); of a"
         " large machine a part of all is looked at", "blocks that could be huge"),
    _one("give_back_ns", "ns", "lower", "How long it took to give back all that was kept",
         "giving back"),
    _one("recovery_ns", "ns", "lower", "From then until the number of whole blocks grew no more",
         "recovery"),
    _one("ask_ns", "ns", None, "How long huge pages were asked for", "time of asking"),
    *huge_metrics.costs("fragment"),
    *event_metrics.fallbacks("fragment", "fragment"),
    *huge_metrics.outcomes("fragment", "out of fragmented memory"),
)  # fmt: skip

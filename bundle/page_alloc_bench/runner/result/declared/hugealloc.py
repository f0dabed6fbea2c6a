# SPDX-License-Identifier: GPL-2.0-only
"""What the workload hugealloc measures."""

from __future__ import annotations

from page_alloc_bench.runner.result import event_metrics, huge_metrics, user_metrics
from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank

PHASES = (user_metrics.phase("hugealloc"),)
METRICS = (
    Metric(
        "hugealloc_huge_pages", "huge pages", "higher",
        "Huge pages that were had beside the churn, of those that were asked for; one item.",
        Kind.SHARE, "hugealloc: huge pages had", "hugeal. huge", of=("hugealloc_asked_pages",),
        family="fragmentation share, hugealloc", rank=Rank.PRIMARY, section="hugealloc",
        subtest="hugealloc", remark="{value:,} huge pages had, {share:.1f} % of those asked for",
    ),
    Metric(
        "hugealloc_asked_pages", "huge pages", None,
        "Huge pages that were asked for over all repetitions; one item.",
        Kind.COUNT, "hugealloc: huge pages asked for", subtest="hugealloc",
    ),
    Metric(
        "hugealloc_churned_pages", "pages", None,
        "Base pages that the processes beside it gave back and had again meanwhile; one item.",
        Kind.COUNT, "hugealloc: pages churned", subtest="hugealloc",
    ),
    Metric(
        "hugealloc_burst_ns", "ns", "lower",
        "How long the huge pages of one second took, whether they were had or not; the mean of a"
        " repetition, one item per repetition.",
        Kind.AMOUNT, "hugealloc: a second's huge pages", "hugeal. burst", per="iteration",
        family="fragmentation time, hugealloc", rank=Rank.SHOWN, in_table=True,
        section="hugealloc", subtest="hugealloc",
    ),
    *huge_metrics.costs("hugealloc"),
    *event_metrics.fallbacks("hugealloc", "hugealloc"),
    *huge_metrics.outcomes("hugealloc", "beside churn"),
)  # fmt: skip

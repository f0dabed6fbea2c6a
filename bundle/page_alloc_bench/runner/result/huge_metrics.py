# SPDX-License-Identifier: GPL-2.0-only
"""The metrics that workloads have in common whose processes ask for huge pages."""

from __future__ import annotations

from collections.abc import Iterator

from .latency_metrics import latencies
from .metrics import Kind, Metric, Rank


def costs(workload: str) -> Iterator[Metric]:
    """Yield the metrics of what the kernel did to have huge pages."""
    for name, unit, text, counters, label in (
        ("compact_stalls", "stalls", "How often a task compacted memory itself",
         "compact_stall", "direct compactions"),
        ("compact_fails", "stalls", "How often that was in vain", "compact_fail",
         "direct compactions in vain"),
        ("scanned_pages", "pages", "Pages that compaction looked at",
         "compact_migrate_scanned and compact_free_scanned", "pages scanned"),
        ("migrated_pages", "pages", "Pages that were moved", "pgmigrate_success",
         "pages migrated"),
        ("reclaim_stalls", "stalls", "How often a task reclaimed memory itself",
         "allocstall_*", "direct reclaims"),
    ):  # fmt: skip
        yield Metric(
            f"{workload}_{name}", unit, None,
            f"{text}, while huge pages were asked for ({counters} in /proc/vmstat); one item.",
            Kind.COUNT, f"{workload}: {label}", subtest=workload,
        )  # fmt: skip


def outcomes(workload: str, where: str) -> tuple[Metric, ...]:
    """Return the metrics of page faults by their outcome. where: huge pages came from."""
    return (
        *latencies(
            f"{workload}_huge", f"page faults that got a huge page {where}",
            label=f"{workload}: huge page", short=f"{workload[:6]} huge", key=f"{workload}-huge",
            rank=Rank.PRIMARY, subtest=workload, course=False,
        ),
        *latencies(
            f"{workload}_fallback", "page faults that asked for a huge page and got a base page",
            label=f"{workload}: fallback", short=f"{workload[:6]} fall",
            key=f"{workload}-fallback", rank=Rank.SHOWN, subtest=workload,
            course=False,
        ),
    )  # fmt: skip

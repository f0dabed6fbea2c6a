# SPDX-License-Identifier: GPL-2.0-only
"""What the workload atomic measures."""

from __future__ import annotations

from page_alloc_bench.runner.result import rate_metrics
from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank

PHASES = (rate_metrics.phase("atomic"),)
_PRESSED = " while the zone that is asked first had less free than its low watermark"


def _count(name: str, unit: str, text: str, label: str) -> tuple[Metric, Metric]:
    """Return a count of all CPUs, and of each."""
    return (
        Metric(
            f"atomic_{name}", unit, None, f"{text}; one item.", Kind.COUNT, f"atomic: {label}",
            subtest="atomic",
        ),
        Metric(
            f"atomic_{name}_per_cpu", unit, None,
            f"atomic_{name} of each CPU, in the order of run.cpus.",
            Kind.COUNT, f"atomic: {label} of each CPU", per="cpu", counts=f"atomic_{name}",
        ),
    )  # fmt: skip


METRICS = (
    Metric(
        "atomic_pressed_failures", "blocks", "lower",
        "Blocks that were asked for" + _PRESSED + ", and not to be had; one item per fill.",
        Kind.SHARE, "atomic: failures below the low watermark", "atomic fail", per="iteration",
        of=("atomic_pressed_allocs", "atomic_pressed_failures"), family="atomic share",
        rank=Rank.PRIMARY, section="atomic", subtest="atomic",
        remark="below the low watermark {value:,} of {whole:,} allocations failed",
    ),
    Metric(
        "atomic_pressed_allocs", "blocks", None,
        "Blocks that were asked for" + _PRESSED + ", and had; one item per fill.",
        Kind.COUNT, "atomic: allocations below the low watermark", per="iteration",
        subtest="atomic",
    ),
    Metric(
        "atomic_pressed_failures_ppm", "ppm", None,
        "Failures of a million blocks that were asked for" + _PRESSED + "; one item per fill in"
        " which any was. 0 is a figure: the reserves were enough.",
        Kind.AMOUNT, "atomic: failures below low", per="iteration", in_table=True,
        section="atomic", subtest="atomic",
    ),
    Metric(
        "atomic_longest_streak", "blocks", None,
        "The most blocks in a row that one CPU asked for in vain; one item.",
        Kind.AMOUNT, "atomic: longest streak of failures", in_table=True, section="atomic",
        subtest="atomic",
    ),
    Metric(
        "atomic_streaks", "streaks", None,
        "How often a CPU asked in vain, once or several times in a row; one item.",
        Kind.COUNT, "atomic: streaks of failures", section="atomic", subtest="atomic",
        remark="{value:,} streaks of failures", remark_of_none=False,
    ),
    *_count("allocs", "blocks", "Blocks that were had over all fills, and before the first",
            "allocations"),
    *_count("frees", "blocks", "Blocks that were freed; equals atomic_allocs unless memory was"
            " lost", "frees"),
    *_count("failures", "blocks", "Blocks that were asked for in vain, also while memory was not"
            " short", "failures"),
    Metric(
        "atomic_reclaim_stalls", "stalls", None,
        "How often a task reclaimed memory itself while memory was filled (allocstall_* in"
        " /proc/vmstat); one item.",
        Kind.COUNT, "atomic: direct reclaims", subtest="atomic",
    ),
)  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-only
"""The metrics that workloads have in common whose processes use memory of their own."""

from __future__ import annotations

from .metrics import Kind, Metric, Phase, Rank, Subtest


def phase(workload: str) -> Phase:
    """Return the phase in which a workload measures a size of pages."""
    return Phase(
        workload,
        (Subtest(workload, absent="not on this host or kernel, see run.workloads"),),
        measured=True,
        types=("before", "after"),
    )


def throughput(workload: str, label: str, of: str, measured: str) -> tuple[Metric, ...]:
    """Return the metrics about how many pages a second there are.

    label: of the rate. of: what is counted, and measured: for how long, in sentences.
    """
    pages = f"{workload}_pages"
    return (
        Metric(
            f"{pages}_per_second", "pages/s", "higher",
            f"{of[:1].upper()}{of[1:]} per second, one item per repetition; in base pages, also"
            " where they are huge.",
            Kind.RATE, f"{workload}: {label}", f"{workload} rate"[:12], per="iteration",
            counts=pages, family=f"{workload} rate", rank=Rank.PRIMARY, in_table=True,
            section=f"{workload}-throughput", subtest=workload,
        ),
        Metric(
            f"{workload}_duration_ns", "ns", None, f"{measured}; one item per repetition.",
            Kind.AMOUNT, f"{workload}: time measured", per="iteration", subtest=workload,
        ),
        Metric(
            pages, "pages", None,
            f"{of[:1].upper()}{of[1:]} over all repetitions, warm-up and end too; one item.",
            Kind.COUNT, f"{workload}: pages", subtest=workload,
        ),
    )  # fmt: skip


def kernels(workload: str, word: str, counters: str) -> tuple[Metric, ...]:
    """Return the metrics that the kernel counts. word: of its pages. counters: of /proc/vmstat."""
    huge, fallbacks = f"{workload}_huge_pages", f"{workload}_huge_fallbacks"
    return (
        Metric(
            f"{workload}_pages_by_vmstat", "pages", None,
            f"Pages {word} meanwhile by the kernel's count ({counters} in /proc/vmstat), all that"
            f" goes on beside it too; one item. A warning says if {workload}_pages does not go"
            " with it.",
            Kind.COUNT, f"{workload}: pages {word} by the kernel's count", subtest=workload,
        ),
        Metric(
            huge, "huge pages", None,
            "Page faults that got a huge page (thp_fault_alloc in /proc/vmstat; anon_fault_alloc of"
            " smaller sizes); one item. Absent for base pages, and where the kernel does not count"
            " it.",
            Kind.COUNT, f"{workload}: huge pages", subtest=workload,
        ),
        Metric(
            fallbacks, "huge pages", "lower",
            "Page faults that got no huge page and took base pages (thp_fault_fallback in"
            " /proc/vmstat; anon_fault_fallback of smaller sizes); one item.",
            Kind.SHARE, f"{workload}: fallbacks", f"{workload} fallb"[:12], of=(huge, fallbacks),
            family=f"{workload} share", rank=Rank.SHOWN, section=f"{workload}-huge",
            subtest=workload, remark="{share:.2f} % of huge pages fell back to base pages",
        ),
    )  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-only
"""What the workload faults measures."""

from __future__ import annotations

from page_alloc_bench.runner.result import user_metrics
from page_alloc_bench.runner.result.latency_metrics import latencies
from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank

PHASES = (user_metrics.phase("faults"),)
METRICS = (
    *user_metrics.throughput(
        "faults", "rate of page faults", "pages that all workers together populated and unmapped",
        "How long faults_pages_per_second was measured, without the warm-up",
    ),
    *user_metrics.kernels("faults", "allocated", "pgalloc_*"),
    Metric(
        "faults_outside_kernel_ns", "ns", None,
        "How long the workers were between their calls of the kernel, which is the benchmark's own"
        " cost; one item.",
        Kind.SHARE, "faults: time between calls",
        of=("faults_outside_kernel_ns", "faults_inside_kernel_ns"), section="faults-throughput",
        remark="{share:.2f} % of the time was the benchmark's own",
    ),
    Metric(
        "faults_inside_kernel_ns", "ns", None,
        "How long the workers were in calls that map, populate and unmap; one item.",
        Kind.COUNT, "faults: time in the kernel",
    ),
    *latencies(
        "faults_populate", "calls that populated a piece (piece_bytes in run.workloads)",
        label="faults: populating a piece", short="faults popul", key="faults-populate",
        rank=Rank.SHOWN, subtest="faults",
    ),
    *latencies(
        "faults_unmap", "calls that unmapped all that a worker had (mapped_bytes)",
        label="faults: unmapping", short="faults unmap", key="faults-unmap",
        rank=Rank.SHOWN, subtest="faults",
    ),
)  # fmt: skip

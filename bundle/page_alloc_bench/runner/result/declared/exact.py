# SPDX-License-Identifier: GPL-2.0-only
"""What the workload exact counts, besides what the workloads of rates declare of it themselves."""

from __future__ import annotations

from page_alloc_bench.runner.result import counted_metrics
from page_alloc_bench.runner.result.metrics import Phase, Subtest

PHASES = (Phase(counted_metrics.PHASE, (Subtest(counted_metrics.PHASE),)),)
METRICS = counted_metrics.counts("antagonist")

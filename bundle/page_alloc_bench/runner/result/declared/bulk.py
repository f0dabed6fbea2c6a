# SPDX-License-Identifier: GPL-2.0-only
"""What the workload bulk measures. What is timed as an allocation is a call."""

from page_alloc_bench.runner.result import rate_metrics

PHASES = (rate_metrics.phase("bulk"),)
METRICS = (*rate_metrics.rates("bulk", timed="calls"), rate_metrics.short_calls("bulk"))

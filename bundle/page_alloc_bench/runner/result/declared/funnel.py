# SPDX-License-Identifier: GPL-2.0-only
"""What the workload funnel measures."""

from page_alloc_bench.runner.result import rate_metrics

PHASES = (rate_metrics.phase("funnel"),)
METRICS = (*rate_metrics.rates("funnel", counted=False), *rate_metrics.rings("funnel"))

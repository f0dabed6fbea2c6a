# SPDX-License-Identifier: GPL-2.0-only
"""What the workload bursts measures."""

from page_alloc_bench.runner.result import rate_metrics

PHASES = (rate_metrics.phase("bursts"),)
METRICS = rate_metrics.rates("bursts")

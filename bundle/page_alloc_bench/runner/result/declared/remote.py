# SPDX-License-Identifier: GPL-2.0-only
"""What the workload remote measures."""

from page_alloc_bench.runner.result import rate_metrics

PHASES = (rate_metrics.phase("remote"),)
METRICS = (*rate_metrics.rates("remote", counted=False), *rate_metrics.rings("remote"))

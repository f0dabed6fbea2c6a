# SPDX-License-Identifier: GPL-2.0-only
"""The metrics of each workload: a file has METRICS, and PHASES and LOSSES if it has any."""

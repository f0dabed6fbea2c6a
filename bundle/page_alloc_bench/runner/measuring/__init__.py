# SPDX-License-Identifier: GPL-2.0-only
"""What workloads measure with: findlimit, the kernel's own counters, plan and estimate."""

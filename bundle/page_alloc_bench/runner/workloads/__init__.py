# SPDX-License-Identifier: GPL-2.0-only
"""What can be measured: a file for each workload."""

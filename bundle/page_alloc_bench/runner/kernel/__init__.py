# SPDX-License-Identifier: GPL-2.0-only
"""What the running kernel says of itself: its tables, its log, its build."""

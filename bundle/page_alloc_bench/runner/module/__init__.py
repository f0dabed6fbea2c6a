# SPDX-License-Identifier: GPL-2.0-only
"""The kernel module: loaded, opened, driven, and its figures merged."""

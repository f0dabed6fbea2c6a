# SPDX-License-Identifier: GPL-2.0-only
"""What a comparison of two kernels ends with, by time or by instructions, as an exit code."""

NONE, REGRESSION, UNKNOWN, REFUSED, NEW_FAILS, TROUBLE = range(6)

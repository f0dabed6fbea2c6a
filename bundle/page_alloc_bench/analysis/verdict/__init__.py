# SPDX-License-Identifier: GPL-2.0-only
"""The statistics of a verdict, as functions of numbers: they know no result and no metric."""

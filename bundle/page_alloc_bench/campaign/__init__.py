# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel boots when, and what follows from it: plans, journals and verdicts."""

# SPDX-License-Identifier: GPL-2.0-only
"""Two kernels against each other by time: boots by turns, and a rule that says when to stop."""

# SPDX-License-Identifier: GPL-2.0-only
"""The file that this runner came in, and what is made from it."""

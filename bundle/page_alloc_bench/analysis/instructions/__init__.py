# SPDX-License-Identifier: GPL-2.0-only
"""Results whose unit is the instruction: the length of a path, and which function it is in."""

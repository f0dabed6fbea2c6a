# SPDX-License-Identifier: GPL-2.0-only
"""What the command line takes: each option is declared once, and all else follows from that."""

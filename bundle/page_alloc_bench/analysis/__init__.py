# SPDX-License-Identifier: GPL-2.0-only
"""Statistics on result files: never touches a live host."""

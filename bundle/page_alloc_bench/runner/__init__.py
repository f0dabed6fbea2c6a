# SPDX-License-Identifier: GPL-2.0-only
"""What travels to the target host: standard library and psutil only, Python 3.9 and newer."""

# SPDX-License-Identifier: GPL-2.0-only
"""Turns a kernel tree into a bundle, on the build host."""

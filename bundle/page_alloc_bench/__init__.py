# SPDX-License-Identifier: GPL-2.0-only
"""Benchmark the Linux kernel's page allocator, shipped as one file per kernel build."""

__version__ = "0.1.0"

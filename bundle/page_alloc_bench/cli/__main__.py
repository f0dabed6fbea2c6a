# SPDX-License-Identifier: GPL-2.0-only
"""``python -m page_alloc_bench.cli``."""

from page_alloc_bench.__main__ import main

main("page-alloc-bench")

# SPDX-License-Identifier: GPL-2.0-only
"""``python -m page_alloc_bench.cli``."""

from page_alloc_bench.cli import main

main(prog_name="page-alloc-bench")

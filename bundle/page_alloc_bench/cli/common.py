# SPDX-License-Identifier: GPL-2.0-only
"""What several subcommands share."""

from __future__ import annotations

import click

from page_alloc_bench.targets import kernels

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
KERNEL = click.Choice([kernel.name for kernel in kernels.KERNELS])

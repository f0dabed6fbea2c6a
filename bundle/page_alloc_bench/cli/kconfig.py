# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench kconfig``: what a kernel needs to run the benchmark in a guest."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from page_alloc_bench.cli.common import CONTEXT
from page_alloc_bench.targets import kconfig as needs


@click.command(context_settings=CONTEXT)
@click.option("--arch", type=click.Choice(["amd64", "arm64"]), default="amd64", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Also what a run can do without.")
@click.argument(
    "config", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False
)
def kconfig(arch: str, config: Path | None, *, everything: bool) -> None:
    """Print what a kernel must be configured with, as a fragment.

    With CONFIG, a .config, only what it lacks; that fails if it lacks something that a run needs.

    \b
        page-alloc-bench kconfig > pab.config
        scripts/kconfig/merge_config.sh -m .config pab.config
        make olddefconfig
    """
    had = needs.read(config.read_text(errors="replace")) if config else {}
    needed = needs.lacking(had, arch, (*needs.NEEDED, *needs.SERIAL))
    wanted = needs.lacking(had, arch, (*needs.WANTED, *needs.SSH)) if everything else []
    click.echo(needs.fragment([*needed, *wanted]), nl=False)
    sys.exit(1 if config and needed else 0)

# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench vm``: run a bundle in a throwaway guest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.cli.common import CONTEXT
from page_alloc_bench.cli.kernels import KERNEL
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets import root as roots
from page_alloc_bench.targets import vm as target
from page_alloc_bench.targets.process import TargetError


@click.command(context_settings=CONTEXT)
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--kernel", type=KERNEL, default=kernels.DEFAULT, show_default=True, help="What to boot."
)
@click.option(
    "--root",
    type=click.Choice([root.name for root in roots.ROOTS]),
    default=roots.DEFAULT,
    show_default=True,
    help="The Debian around it, with a Python of its own.",
)
@click.option("--cpus", type=click.IntRange(min=1), default=4, show_default=True)
@click.option(
    "--nodes", type=click.IntRange(min=1), default=2, show_default=True, help="NUMA nodes."
)
@click.option(
    "--mem", "memory", default="2G", show_default=True, help="Memory, shared out to the nodes."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where to put the result as JSON."
)
@click.option(
    "--console",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the guest's serial console there, however the run ends.",
)
@click.argument("bench_options", nargs=-1, type=click.UNPROCESSED)
def vm(bundle: Path, bench_options: tuple[str, ...], **options: Any) -> None:
    """Run BUNDLE in a throwaway virtual machine, over ssh, as on a real host.

    BENCH_OPTIONS follow a `--`. The machine's CPUs are emulated: fine for trying, not for figures.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        status = target.run_bundle(bundle, list(bench_options), **given)
    except target.UsageError as error:
        raise click.UsageError(str(error)) from error
    except TargetError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)

# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench bisect``: find the commit that made the page allocator worse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.cli import (
    ab_timed,
    bisect_exact,
    bisect_timed,
    exact_sides,
    revision_options,
)
from page_alloc_bench.cli.common import CONTEXT
from page_alloc_bench.cli.verdict_command import VerdictCommand, in_directory


@click.command(cls=VerdictCommand, context_settings=CONTEXT)
@click.option("--exact", "by_instructions", is_flag=True, help="Judge by counted instructions.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[:STATISTIC]",
    help="Look at this only, such as pairs_allocs_per_second_order0, or with --exact "
    "exact_pairs_instructions_per_1000_operations_order0. Repeatable without --exact.  "
    "[default: what differs most]",
)
@revision_options.options
@click.option("--cmdline", default="", metavar="WORDS", help="More arguments of the kernels.")
@exact_sides.options
@ab_timed.boot_options
@exact_sides.words("GOOD BAD [-- OPTION...]")
def bisect(
    *, by_instructions: bool, directory: Path | None, words: tuple[str, ...], **options: Any
) -> None:
    """Find the commit between two revisions, GOOD and BAD, that made the page allocator worse.

    First GOOD is held against BAD: without a difference there is nothing to find. Then commits
    between them are built and held against GOOD, until one is left. A commit is bad if it is
    beyond the middle between GOOD and BAD. Those that do not build or boot are skipped, as are
    those that cannot be told. Kernels are booted by turns, as `ab` does.

    With --exact, instructions are counted instead, and each commit is booted twice.

    Options of the benchmark follow a `--`.
    """
    revisions, options["bench_options"] = exact_sides.split(words)
    options["directory"] = directory
    if len(revisions) != len(("good", "bad")):
        raise click.UsageError("give two revisions of --tree, GOOD and BAD")
    work = bisect_exact.run if by_instructions else bisect_timed.run

    def checked(place: Path) -> int:
        if by_instructions:
            ab_timed.refuse_with_exact()
            exact_sides.check(options)
        else:
            ab_timed.check(options)
        return work(place, revisions, options)

    sys.exit(in_directory(directory, checked))

# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench store``: results of many hosts and releases in one directory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import CONTEXT, DIRECTORY, Group
from .with_results import bad_input, load_runs, needs, note

if TYPE_CHECKING:
    from page_alloc_bench.analysis.store.place import Store

EXTRAS = "analysis,query"


@click.group(cls=Group, context_settings=CONTEXT)
def store() -> None:
    """Keep results of many hosts and releases, to query and compare.

    A store is a directory with a Parquet file for each run, by release and host. `query --store`,
    `compare --store` and `trend` read it. Several programs may add to it at a time.
    """


@store.command(context_settings=CONTEXT)
@click.argument("directory", metavar="STORE", type=DIRECTORY)
@click.argument("files", nargs=-1, required=True, metavar="RESULT...")
@click.option("--samples", is_flag=True, help="Keep the sampled latencies too.")
def add(directory: Path, files: tuple[str, ...], samples: bool) -> None:
    """Put results into a store, which is made if it is not there.

    A run that is there already is left out. Figures and histograms are kept always.
    """
    with needs(EXTRAS), bad_input():
        from page_alloc_bench.analysis.store import index, keep, place

        runs = load_runs(files)
        first = next(runs)  # before a store is made for nothing
        target = place.make_store(directory)
        every = itertools.chain([first], runs)
        made = [new for _, new in keep.add(target, every, samples=samples)]
        index.complete(target)
    known = made.count(False)
    note(f"{made.count(True)} added" + (f", {known} known already" if known else ""))


@store.command("list", context_settings=CONTEXT)
@click.argument("directory", metavar="STORE", type=DIRECTORY)
def list_(directory: Path) -> None:
    """List how many runs there are, by release and host."""
    with _opened(directory) as found:
        from page_alloc_bench.analysis.store import read

        counts: dict[tuple[str, str], int] = {}
        for stored in read.usable(found, note):
            counts[stored.release, stored.host] = counts.get((stored.release, stored.host), 0) + 1
        widths = [max((len(where[at]) for where in counts), default=0) for at in (0, 1)]
        widths = [max(width, len(name)) for width, name in zip(widths, ("release", "host"))]
        click.echo(f"{'release':{widths[0]}}  {'host':{widths[1]}}  runs")
        for (release, host), runs in counts.items():
            click.echo(f"{release:{widths[0]}}  {host:{widths[1]}}  {runs:4}")


@store.command(context_settings=CONTEXT)
@click.argument("directory", metavar="STORE", type=DIRECTORY)
def check(directory: Path) -> None:
    """Read every file of a store whole; exit 1 if one is damaged.

    Damaged files are named, and left where they are: `query`, `compare` and `trend` leave out those
    that are cut short.
    """
    with _opened(directory) as found:
        from page_alloc_bench.analysis.store import read

        faults = list(read.faults(found))
        for path, fault in faults:
            click.echo(f"{path}: {fault}")
        if faults:
            raise click.exceptions.Exit(1)
        note(f"{sum(1 for _ in found.listed())} runs, all whole")


@contextmanager
def _opened(directory: Path) -> Iterator[Store]:
    with needs(EXTRAS), bad_input():
        from page_alloc_bench.analysis.store import place

        yield place.open_store(directory)

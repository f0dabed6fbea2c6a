# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench trend``: which kernel changed a figure?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from page_alloc_bench import outputs
from page_alloc_bench.runner.result import columns

from .common import CONTEXT, DIRECTORY, OUTPUT, Codes, complain, terminal_columns
from .with_results import BadInputError, bad_input, needs, note

if TYPE_CHECKING:
    from page_alloc_bench.analysis.results import Result
    from page_alloc_bench.analysis.trend.changes import Trend

_WORSE, _CANNOT_TELL = 1, 2
_FORMATS = ("html", "json", "markdown")
_PLAIN = "plain"  # only for a terminal
_WIDEST = 100  # columns of text that are read well
_FORMAT_OF_SUFFIX = {".html": "html", ".json": "json"}
_EXTRAS = "analysis,query,trend"


class _Command(click.Command):
    """1 is a verdict: what goes wrong is 3."""

    codes = Codes(failed=3, usage=3)


@click.command(cls=_Command, context_settings=CONTEXT)
@click.argument("files", nargs=-1, metavar="[RESULT...]")
@click.option("--store", type=DIRECTORY, metavar="DIR", help="Take the runs of this store instead.")
@click.option(
    "--filter", "filters", multiple=True, metavar="FACT=PATTERN",
    help="Take only runs of which this is true. May be given more than once.",
)  # fmt: skip
@click.option(
    "--by", metavar="FACT",
    help="The fact that tells kernels apart.  [default: labels.commit where every run has it, else "
    "kernel.release]",
)  # fmt: skip
@click.option(
    "--tree", type=DIRECTORY, metavar="DIR",
    help="A git tree whose history gives commits their order.  [default: the order of the runs]",
)  # fmt: skip
@click.option(
    "--metric", "only", multiple=True, metavar="NAME[:STATISTIC]",
    help="Look at this figure, with * and ? if need be. May be given more than once.  [default: "
    "those that compare tests]",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(_FORMATS),
    help="How to write it.  [default: plain in a terminal; by the name of -o's FILE; markdown]",
)  # fmt: skip
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write it there; - is stdout.")
def trend(
    files: tuple[str, ...],
    *,
    store: Path | None,
    filters: tuple[str, ...],
    by: str | None,
    tree: Path | None,
    only: tuple[str, ...],
    form: str | None,
    output: Path | None,
) -> None:
    """Say which kernels changed a figure, over all runs of a machine.

    RESULT is a result file, a directory of them, or a glob. Boot each kernel three times at least,
    better five: the boots tell what is noise.
    """
    if bool(files) == bool(store):
        raise click.UsageError("give either results or --store DIR")
    form = form or _default_format(output)
    with outputs.OutputFile(output) if output else nullcontext() as stream:
        with needs(_EXTRAS), bad_input():
            made = _trends(_load(files, store, filters), by, tree, only)
            text = _render(made, form)
        if stream:
            stream.write(outputs.encoded(text))
        else:
            click.echo(text, nl=False)
    if any(each.newest_is_worse for each in made):
        sys.exit(_WORSE)


def _default_format(output: Path | None) -> str:
    if output and not outputs.is_stdout(output):
        return _FORMAT_OF_SUFFIX.get(output.suffix, "markdown")
    return "markdown" if terminal_columns() is None else _PLAIN


def _load(files: tuple[str, ...], store: Path | None, filters: tuple[str, ...]) -> list[Result]:
    from page_alloc_bench.analysis import fact_filter, results

    try:
        if store is None:
            wanted = [fact_filter.parse(text) for text in filters]
            return fact_filter.chosen(results.load_all(files), wanted)
        from page_alloc_bench.analysis.store import place, read

        return read.load(place.open_store(store), read.parse(filters), note)
    except fact_filter.FilterError as error:
        raise BadInputError(str(error)) from error


def _trends(
    runs: list[Result], by: str | None, tree: Path | None, only: tuple[str, ...]
) -> Sequence[Trend]:
    from page_alloc_bench.analysis.trend import changes, series

    try:
        return changes.trends(series.series(runs, note, by=by, tree=tree, only=only))
    except series.NothingError as error:
        complain(str(error), "measure another kernel on this machine; see --by and --metric")
        sys.exit(_CANNOT_TELL)
    except series.TrendError as error:
        raise BadInputError(str(error)) from error


def _render(made: Sequence[Trend], form: str) -> str:
    from page_alloc_bench.analysis.trend import words

    if form == "html":
        from page_alloc_bench.analysis.trend import page

        return page.render(made)
    if form == _PLAIN:
        return words.plain(made, min(terminal_columns() or columns.USUAL, _WIDEST))
    return words.document(made) if form == "json" else words.markdown(made)

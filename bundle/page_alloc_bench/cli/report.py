# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench report``: results as a page, or as pictures, for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from page_alloc_bench import installation, outputs
from page_alloc_bench.runner.result import units

from .common import CONTEXT, OUTPUT, PathType, complain
from .sides import SidesCommand, campaign, split
from .verdict_options import given, verdict_options

if TYPE_CHECKING:
    from page_alloc_bench.analysis.results import Result

_FAILED, _BAD_INPUT = 1, 2


@click.command(cls=SidesCommand, context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="RESULT... [--vs NEW...]")
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="The page: one file that needs no network and no script; - is stdout.",
)
@click.option(
    "--png",
    type=PathType(file_okay=False),
    metavar="DIR",
    help="Write each picture there as NAME.png.",
)
@click.option(
    "--svg",
    type=PathType(file_okay=False),
    metavar="DIR",
    help="Write each picture there as NAME.svg.",
)
@verdict_options
def report(
    files: tuple[str, ...],
    *,
    output: Path | None,
    png: Path | None,
    svg: Path | None,
    filters: tuple[str, ...],
    **options: Any,
) -> None:
    """Show results as a page with pictures; with --vs, the runs of NEW against the others.

    Each of RESULT and NEW is a result file, a directory of them, or a glob. Of several runs the
    median is shown, with the middle 80 % of them.
    """
    if not (output or png or svg):
        raise click.UsageError("say what to write: -o report.html, --png DIR or --svg DIR")
    sides = split(files)
    _require_comparison(bool(sides[1]) and output is not None)
    base, new = _load(*sides, filters)
    if directory := campaign(files):
        from page_alloc_bench.analysis import of_campaign

        options = of_campaign.options(directory, options)
    if output:
        _page(base, new, output, {**options, "filters": filters})
    if png or svg:
        _pictures(base, new, png, svg)


def _require_comparison(there: bool) -> None:
    """Raise click.UsageError for an option that says how to compare where nothing is compared."""
    asked = given(click.get_current_context())
    if asked and not there:
        raise click.UsageError(
            f"{asked[0]} is about a comparison, which the page of two sides has: give them as "
            "BASE... --vs NEW... and -o FILE, or leave it out"
        )


def _load(
    base: Sequence[str], new: Sequence[str], filters: Sequence[str]
) -> tuple[Sequence[Result], Sequence[Result]]:
    try:
        from page_alloc_bench.analysis import fact_filter, results
        from page_alloc_bench.analysis import report as _  # noqa: F401 (what it needs is there)
    except ImportError as error:
        needed = installation.install_extra("analysis")
        _fail(f"{error.name} is not installed; this needs:\n  {needed}", _FAILED)
    try:
        wanted = [fact_filter.parse(text) for text in filters]
        sides = [fact_filter.chosen(results.load_all(side), wanted) for side in (base, new) if side]
        return sides[0], sides[1] if new else []
    except (results.ResultError, fact_filter.FilterError) as error:
        _fail(str(error), _BAD_INPUT)


def _page(
    base: Sequence[Result],
    new: Sequence[Result],
    output: Path,
    options: Mapping[str, Any],
) -> None:
    from page_alloc_bench.analysis import compare
    from page_alloc_bench.analysis import report as made

    with outputs.OutputFile(output) as stream:
        try:
            text = made.html(base, new, **options)
        except compare.CompareError as error:
            _fail(str(error), _BAD_INPUT)
        page = outputs.encoded(text)
        stream.write(page)
    click.echo(f"{output}: {units.mib(len(page))} MiB", err=True)


def _pictures(
    base: Sequence[Result], new: Sequence[Result], png: Path | None, svg: Path | None
) -> None:
    from page_alloc_bench.analysis import report as made

    written = made.save_pictures(base, new, png=png, svg=svg)
    places = " and ".join(str(directory) for directory in (png, svg) if directory)
    click.echo(f"{places}: {len(written)} pictures", err=True)


def _fail(message: str, status: int) -> NoReturn:
    complain(message)
    sys.exit(status)

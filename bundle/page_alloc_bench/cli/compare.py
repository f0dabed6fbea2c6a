# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench compare``: did it change, and may that be believed?"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from page_alloc_bench import installation, outputs

from .common import CONTEXT, DIRECTORY, OUTPUT, Codes, complain
from .sides import SidesCommand, campaign, split_all
from .verdict_options import verdict_options
from .with_results import note

_NO_VERDICT = 3

if TYPE_CHECKING:
    from page_alloc_bench.analysis.compare import Comparison, RefusedError
    from page_alloc_bench.analysis.results import Result

_FORMATS = ("table", "text", "short", "markdown", "csv", "json")
_FORMAT_OF_SUFFIX = {".md": "markdown", ".csv": "csv", ".json": "json"}


class _Command(SidesCommand):
    """1 and 2 are verdicts: all that goes wrong is 3."""

    codes = Codes(failed=_NO_VERDICT, usage=_NO_VERDICT)


@click.command(cls=_Command, context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="BASE... --vs NEW...")
@click.option(
    "--store", type=DIRECTORY, metavar="DIR", help="A store: BASE and NEW say which of its runs."
)
@verdict_options
@click.option(
    "--by-host",
    is_flag=True,
    help="Each host measured both sides: compare it with itself, and decide over the hosts.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="How to write it.  [default: table in a terminal; by the name of -o's FILE; text]",
)
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write it there; - is stdout.")
def compare(
    files: tuple[str, ...],
    store: Path | None,
    form: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Say whether the boots of NEW are worse than those of BASE.

    Each of BASE and NEW is a result file, a directory of them, or a glob; the directory of an `ab`
    alone stands for both. The runs of one boot are one observation. Boot the two kernels by turns,
    six times each at least, better ten. With --vs more than once, or with three directories or
    more, each side is compared with the first.

    With --store, a side is what the runs of a store are to have: 'release=6.1.*', or
    'release=6.12* AND labels.rack=a'. Any fact may be named, as for --filter; release and host are
    short for kernel.release and host_id.

    With --by-host, a host is one observation, however many runs it made: hosts need not be alike,
    and those with one side only are left out. Half of the hosts should measure NEW first.
    """
    base, *news = split_all(files)
    if not news and campaign(files):
        raise click.UsageError(f"{files[0]}: only one side of this campaign has whole boots yet")
    if not news:
        raise click.UsageError("give the two sides as BASE... --vs NEW...")
    form = form or _default_format(output)
    with outputs.OutputFile(output) if output else nullcontext() as stream:
        made = _compare(base, news, campaign(files), store=store, **options)
        text = _render(made, form)
        if stream:
            stream.write(outputs.encoded(text))
        else:
            click.echo(text, nl=False)
    if output:
        for comparison in made:
            click.echo(comparison.sentence, err=True)
    sys.exit(_exit_code(made))


def _exit_code(made: Sequence[Comparison]) -> int:
    from page_alloc_bench.analysis import compare as engine

    return engine.exit_code(made)


def _render(made: Sequence[Comparison], form: str) -> str:
    from page_alloc_bench.analysis import format_words

    if form == "csv":  # it has no place for what must be known first
        for comparison in made:
            for line in (*format_words.differences(comparison), *comparison.warnings):
                click.echo(line, err=True)
    module = importlib.import_module(f"page_alloc_bench.analysis.format_{form}")
    if len(made) == 1:
        return str(module.render(made[0]))
    if form == "json":
        return str(module.render_all(made))
    return "\n".join(str(module.render(comparison)) for comparison in made)


def _compare(
    base: tuple[str, ...],
    news: Sequence[tuple[str, ...]],
    directory: Path | None,
    *,
    store: Path | None,
    filters: tuple[str, ...],
    **options: Any,
) -> Sequence[Comparison]:
    try:
        from page_alloc_bench.analysis import compare as engine
        from page_alloc_bench.analysis import fact_filter, of_campaign, results
    except ImportError as error:
        _fail_to_import(error)
    try:
        sides = [_load(side, store) for side in (base, *news)]
        wanted = [fact_filter.parse(text) for text in filters]
        sides = [fact_filter.chosen(side, wanted) for side in sides]
        if directory:
            options = of_campaign.options(directory, options)
        if len(sides) == 2:
            return [engine.compare(*sides, **options)]
        return engine.compare_all(sides[0], sides[1:], **options)
    except engine.RefusedError as error:
        _explain(error)
    except (results.ResultError, engine.CompareError, fact_filter.FilterError) as error:
        _fail(str(error))


def _load(side: Sequence[str], store: Path | None) -> list[Result]:
    """Return the runs of a side: of files, or of a store those that have what is named."""
    from page_alloc_bench.analysis import results

    if store is None:
        return results.load_all(side)
    try:
        from page_alloc_bench.analysis.store import place, read
    except ImportError as error:
        _fail_to_import(error)
    return read.load(place.open_store(store), read.parse(side), note)


def _fail_to_import(error: ImportError) -> NoReturn:
    needed = installation.install_extra("analysis,query" if error.name == "duckdb" else "analysis")
    _fail(f"{error.name} is not installed; this needs:\n  {needed}")


def _explain(error: RefusedError) -> NoReturn:
    """Print what forbids the comparison, and how to make it all the same."""
    from page_alloc_bench.analysis import format_words

    lines = [f"  {format_words.difference(item)}" for item in error.differences]
    names = " ".join(f"--allow-difference {item.name}" for item in error.differences)
    _fail(
        "the runs differ in more than what is compared:\n" + "\n".join(lines),
        f"make the runs alike, or, if you know why they may differ: {names}",
    )


def _fail(message: str, advice: str = "") -> NoReturn:
    complain(message, advice)
    sys.exit(_NO_VERDICT)


def _default_format(output: Path | None) -> str:
    if output and not outputs.is_stdout(output):
        return _FORMAT_OF_SUFFIX.get(output.suffix, "text")
    return "table" if sys.stdout.isatty() else "text"

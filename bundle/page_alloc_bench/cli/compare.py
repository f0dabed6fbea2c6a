# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench compare``: did it change, and may that be believed?"""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from page_alloc_bench import installation, outputs

from .common import CONTEXT, OUTPUT, Codes, complain
from .sides import SidesCommand, percent, split

_NO_VERDICT = 3

if TYPE_CHECKING:
    from page_alloc_bench.analysis.compare import Comparison, RefusedError

_FORMATS = ("table", "text", "markdown", "csv", "json")
_FORMAT_OF_SUFFIX = {".md": "markdown", ".csv": "csv", ".json": "json"}


class _Command(SidesCommand):
    """1 and 2 are verdicts: all that goes wrong is 3."""

    codes = Codes(failed=_NO_VERDICT, usage=_NO_VERDICT)


def _percent(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    return percent(value)


def _confidence(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    """Return 0.95 for "95%" or "95"."""
    number = percent(value)
    if not 50 <= number < 100:
        raise click.BadParameter(f"{value!r} is not from 50% to below 100%")
    return number / 100


@click.command(cls=_Command, context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="BASE... --vs NEW...")
@click.option(
    "--threshold",
    callback=_percent,
    metavar="PERCENT",
    default="2%",
    show_default=True,
    help="The change that matters: a smaller one is not a regression, however sure it is.",
)
@click.option(
    "--confidence",
    callback=_confidence,
    metavar="PERCENT",
    default="95%",
    show_default=True,
    help="The confidence of every interval, and of having no false verdict if nothing has changed.",
)
@click.option(
    "--allow-difference",
    "allow",
    multiple=True,
    metavar="NAME",
    help="Compare although this fact differs, such as thp.enabled, or parameters for all of "
    "them. May be given more than once.",
)
@click.option(
    "--metric",
    "only",
    multiple=True,
    metavar="NAME[:STATISTIC]",
    help="Test only this, such as idle_available_bytes, 'kernel_*_latencies_ns:p99' or "
    "idle_available_bytes_order4. May be given more than once.",
)
@click.option(
    "--all-statistics",
    "everything",
    is_flag=True,
    help="Show and test everything that has a better direction. Each additional test makes the "
    "others weaker.",
)
@click.option(
    "--sure",
    is_flag=True,
    help="Say that there is no regression only if the intervals exclude one as large as the "
    "threshold.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=1,
    show_default=True,
    help="The seed of the bootstrap.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="How to write it.  [default: table in a terminal; by the name of -o's FILE; text]",
)
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write it there; - is stdout.")
def compare(files: tuple[str, ...], form: str | None, output: Path | None, **options: Any) -> None:
    """Say whether the runs of NEW are worse than those of BASE.

    Each of BASE and NEW is a result file, a directory of them, or a glob. A file is one run, and a
    run is one observation. Take the two kernels' runs by turns, six of each at least, better ten.
    """
    base, new = split(files)
    if not new:
        raise click.UsageError("give the two sides as BASE... --vs NEW...")
    form = form or _default_format(output)
    with outputs.OutputFile(output) if output else nullcontext() as stream:
        comparison = _compare(base, new, **options)
        text = _render(comparison, form)
        if stream:
            stream.write(outputs.encoded(text))
        else:
            click.echo(text, nl=False)
    if output:
        click.echo(comparison.sentence, err=True)
    sys.exit(comparison.exit_code)


def _render(comparison: Comparison, form: str) -> str:
    if form == "csv":  # it has no place for what must be known first
        from page_alloc_bench.analysis import format_words

        for line in (*format_words.differences(comparison), *comparison.warnings):
            click.echo(line, err=True)
    module = importlib.import_module(f"page_alloc_bench.analysis.format_{form}")
    return str(module.render(comparison))


def _compare(
    base: tuple[str, ...], new: tuple[str, ...], *, threshold: float, **options: Any
) -> Comparison:
    try:
        from page_alloc_bench.analysis import compare as engine
        from page_alloc_bench.analysis import results
    except ImportError as error:
        needed = installation.install_extra("analysis")
        _fail(f"{error.name} is not installed; this needs:\n  {needed}")
    try:
        sides = results.load_all(base), results.load_all(new)
        return engine.compare(*sides, threshold_percent=threshold, **options)
    except engine.RefusedError as error:
        _explain(error)
    except (results.ResultError, engine.CompareError) as error:
        _fail(str(error))


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

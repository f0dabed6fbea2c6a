# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench show``: a result in the terminal."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from page_alloc_bench.cli.common import CONTEXT, PathType, terminal_columns
from page_alloc_bench.cli.with_results import bad_input, needs

if TYPE_CHECKING:
    from page_alloc_bench.analysis.results import Result

_STDIN = Path("/dev/stdin")
_STYLES = {"plain": "", "heading": "bold", "warning": "yellow", "alarm": "bold white on red"}


@click.command(context_settings=CONTEXT)
@click.argument("file", type=PathType(), metavar="RESULT")
@click.option(
    "--facts", is_flag=True, help="Show what is known of the run besides its measurements."
)
@click.option(
    "--metric",
    metavar="NAME",
    help="Show one metric: idle_available_bytes for every order, "
    "idle_available_bytes_order0 for one of them.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="For scripts, with --facts or --metric: an object; with --metric without an order, a "
    "list of objects.",
)
def show(file: Path, facts: bool, metric: str | None, as_json: bool) -> None:
    """Show a result: warnings, the summary of the run, histograms of its latencies.

    RESULT is a file, or - for stdin.
    """
    if facts and metric is not None:
        raise click.UsageError("give --facts or --metric, not both")
    if as_json and not facts and metric is None:
        raise click.UsageError("--json needs --facts or --metric; the result itself is JSON")
    with needs("analysis"), bad_input():
        from page_alloc_bench.analysis import results

        result = results.load(_STDIN if str(file) == "-" else file)
        if facts:
            _show_facts(result, as_json=as_json)
        elif metric is not None:
            _show_metric(result, metric, as_json=as_json)
        else:
            _show_overview(result)


def _show_facts(result: Result, *, as_json: bool) -> None:
    from page_alloc_bench.analysis import facts
    from page_alloc_bench.analysis import show as text

    if as_json:
        _print_json(facts.flatten(result.run))
    else:
        click.echo("\n".join(text.facts_text(result, terminal_columns())))


def _show_metric(result: Result, name: str, *, as_json: bool) -> None:
    from page_alloc_bench.analysis import show as text

    found = text.find_metrics(result, name)
    if as_json:
        objects = [text.metric_json(result, metric) for metric in found]
        of_all_orders = found[0].name == name
        _print_json(objects if of_all_orders else objects[0])
    else:
        width = terminal_columns() or text.TEXT_WIDTH
        lines = [line for metric in found for line in text.metric_text(result, metric, width)]
        click.echo("\n".join(lines))


def _show_overview(result: Result) -> None:
    from rich.console import Console
    from rich.text import Text

    from page_alloc_bench.analysis import show as text

    columns = shutil.get_terminal_size((text.MOST_WIDTH, 24)).columns
    bar = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    console = Console(highlight=False, soft_wrap=True)
    for line in text.overview(result, columns, bar):
        console.print(Text(line.text, style=_STYLES[line.kind]))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))

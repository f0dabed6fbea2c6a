# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench query``: SQL over results."""

from __future__ import annotations

import sys
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from page_alloc_bench.cli.common import CONTEXT, DIRECTORY
from page_alloc_bench.cli.with_results import BadInputError, bad_input, load_runs, needs, note
from page_alloc_bench.runner.result import columns

_ANY_WIDTH = 1 << 20
_LEAST = 4  # columns of the terminal for one of a table
_BETWEEN = 3

if TYPE_CHECKING:
    import duckdb
    from rich.table import Table

    from page_alloc_bench.analysis.query import Answer


@click.command(context_settings=CONTEXT)
@click.argument("sql")
@click.argument("files", nargs=-1, metavar="RESULT...")
@click.option("--store", "store", type=DIRECTORY, metavar="DIR", help="Query this store instead.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "csv", "json")),
    default="table",
    show_default=True,
    help="How to print the answer.",
)
def query(sql: str, files: tuple[str, ...], store: Path | None, form: str) -> None:
    """Query results, or a store, with SQL, by DuckDB.

    RESULT is a result file, a directory of them, or a glob. These views are there:

    \b
      runs     a row for each run: run_id, file, started_at, complete,
               reason, release, version, machine, cmdline, config_sha256,
               cpus_used, cpu_model, hypervisor, clocksource, nodes,
               memory_bytes, thp, seed, iterations, latencies,
               tool_version, warnings
      metrics  a row for each metric of a run: run_id, metric,
               alloc_order, n, population, min, mean, median, p95,
               p99, p99_9, max, unit, better, chosen
      samples  a row for each value: run_id, metric, alloc_order,
               sample, value, unit, better, chosen
      facts    a row for each fact of a run: run_id, name, value

    In a store, runs has host too, and metrics has release and host. No statement changes the files:
    results are copied to memory, and of a store is read what a statement needs.
    """
    if bool(files) == bool(store):
        raise click.UsageError("give either results or --store DIR")
    with needs("analysis,query"):
        import duckdb

        from page_alloc_bench.analysis import query as database

        try:
            with _connected(files, store) as connection:
                answer = database.ask(connection, sql)
        except duckdb.Error as error:
            raise BadInputError(str(error)) from error
    if form == "csv":
        database.write_csv(answer, sys.stdout)
    elif form == "json":
        database.write_json(answer, sys.stdout)
    elif answer.columns:
        with needs("analysis"):
            _print_table(answer)


def _connected(files: tuple[str, ...], store: Path | None) -> duckdb.DuckDBPyConnection:
    from page_alloc_bench.analysis import query as database

    if store is None:
        return database.connect(load_runs(files))
    from page_alloc_bench.analysis.store import place, read

    with bad_input():
        return read.connect(place.open_store(store), note)


def _print_table(answer: Answer) -> None:
    """Print a table: in a terminal as wide as that, elsewhere as wide as it is."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        table = _table(answer, folded=False)
        unbounded = console.options.update(max_width=_ANY_WIDTH)
        if console.measure(table, options=unbounded).maximum > console.width:
            table = _table(answer, folded=True)
            least = sum((column.min_width or 0) + _BETWEEN for column in table.columns) - _BETWEEN
            if least > console.width:
                _print_rows(answer, console.width)
                return
        console.print(table)
        return
    console.width = _ANY_WIDTH
    with console.capture() as capture:
        console.print(_table(answer, folded=False))
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _print_rows(answer: Answer, width: int) -> None:
    """Print a row below the other, a value a line; what does not fit beside its name is below."""
    from page_alloc_bench.analysis.query import text

    room = max(map(len, answer.columns))
    for number, row in enumerate(answer.rows):
        if number:
            click.echo()
        for name, value in zip(answer.columns, map(text, row)):
            line = f"{name:{room}}  {value}".rstrip()
            beside = len(line) <= width
            told = [line] if beside else [name, *columns.wrap(value, width, "  ", first="  ")]
            click.echo("\n".join(told))


def _table(answer: Answer, *, folded: bool) -> Table:
    """Return the answer as a table. folded: what is not a number may be, and so may all names."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from page_alloc_bench.analysis.query import text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, name in enumerate(answer.columns):
        column = [row[place] for row in answer.rows]
        if not all(isinstance(value, int | float | Decimal | None) for value in column):
            table.add_column(Text(name), overflow="fold", min_width=_LEAST if folded else None)
            continue
        longest = max((len(text(value)) for value in column), default=1)
        width = max(longest, _LEAST) if folded else None
        head = "\n".join(textwrap.wrap(name, width)) if width else name
        table.add_column(Text(head), justify="right", no_wrap=True, min_width=width)
    for row in answer.rows:
        table.add_row(*(Text(text(value)) for value in row))
    return table

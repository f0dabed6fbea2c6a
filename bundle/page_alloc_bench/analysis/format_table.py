# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as a table for a terminal, coloured."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import format_words as words
from .comparison import NO_REGRESSION, REGRESSION, Comparison, Row, at_most, label

_WIDE = 110  # columns

_STYLES = {"better": "green", "worse": "bold red", "too few runs": "yellow", "not tested": "dim"}


def render(comparison: Comparison, width: int | None = None) -> str:
    """Return the table with escape sequences; width: in columns, None for the terminal's."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)
    show(comparison, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def show(comparison: Comparison, console: Console) -> None:
    """Print what differs, the verdict, and the table."""
    lines = words.differences(comparison)
    for index, text in enumerate(lines):
        known = index < len(comparison.differences)
        loud = known and comparison.differences[index].kind != "meant"
        console.print(Text(text, style="yellow" if loud else ""))
    for text in comparison.warnings:
        console.print(Text(f"warning: {text}", style="yellow"))
    console.print(_table(comparison, narrow=console.width < _WIDE))
    for mean in comparison.geomeans:
        line = f"geomean of {mean.family}, {mean.rows} rows: {words.change(mean.change_percent)}"
        console.print(Text(f"{line} {words.interval(mean)}".rstrip()))
    console.print(Text(words.legend(comparison), style="dim"))
    style = {NO_REGRESSION: "bold green", REGRESSION: "bold red"}
    console.print(Text(comparison.sentence, style=style.get(comparison.exit_code, "bold yellow")))


def _table(comparison: Comparison, *, narrow: bool) -> Table:
    """Return the table; narrow: for 80 columns, without p and the runs needed."""
    padding = (0, 0) if narrow else (0, 1)
    title = words.runs(comparison)
    table = Table(box=box.SIMPLE_HEAD, title=title, pad_edge=False, padding=padding)
    table.add_column("", no_wrap=True)
    for name in ("base", "new", "change", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("p (Holm)", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if not narrow:
        table.add_column(f"runs for {comparison.threshold_percent:g} %", justify="right")
    order = None
    for row in comparison.rows:
        if row.order != order:
            order = row.order
            table.add_section()
            table.add_row(Text(f"order {order}", style="bold"))
        style = _STYLES.get(row.verdict, "") if _loud(row) else ""
        table.add_row(*_cells(row, narrow=narrow), style=style)
    return table


def _loud(row: Row) -> bool:
    return row.beyond or row.verdict in ("too few runs", "not tested")


def _cells(row: Row, *, narrow: bool) -> list[str]:
    cells = [
        words.short_label(row) if narrow else label(row),
        f"{words.median(row.base, row.unit)} {words.spread(row.base):<5}",
        f"{words.median(row.new, row.unit)} {words.spread(row.new):<5}",
        words.change(row.change_percent),
        words.interval(row),
    ]
    if narrow:
        return [*cells, words.verdict(row, short=True)]
    needed = "" if row.runs_needed is None else at_most(row.runs_needed)
    return [*cells, words.p_value(row.p_corrected), words.verdict(row, short=False), needed]

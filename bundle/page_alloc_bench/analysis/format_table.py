# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as a table for a terminal, coloured."""

from __future__ import annotations

import io
from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from . import format_words as words
from .comparison import (
    NO_REGRESSION,
    REGRESSION,
    Comparison,
    Row,
    Side,
    boots,
    label,
    short_label,
)
from .instructions import words as path_words

_WIDE = 110  # columns
_COLUMNS = ("", "base", "new", "change", "interval", "verdict", "boots needed")
# What is left out, one set after the other, until the rest fits; "±": the medians' intervals.
_NARROW = frozenset({"boots needed"})
_LEFT_OUT = (
    frozenset[str](),
    _NARROW,
    _NARROW | {"±"},
    _NARROW | {"±", "interval"},
    _NARROW | {"±", "interval", "base"},
    _NARROW | {"±", "interval", "base", "new"},
)

_STYLES = {
    "better": "green",
    "worse": "bold red",
    "worse, size unclear": "red",
    "too few boots": "yellow",
    "not tested": "dim",
}


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
    console.print(_fitting(comparison, console), no_wrap=True, overflow="ignore", crop=False)
    for mean in comparison.geomeans:
        line = f"geomean of {mean.family}, {mean.rows} rows: {words.change(mean)}"
        console.print(Text(f"{line} {words.interval(mean)}".rstrip()))
    for text in (*path_words.by_function(comparison.paths), *words.strata(comparison)):
        console.print(Text(text))
    console.print(Text(words.legend(comparison), style="dim"))
    style = {NO_REGRESSION: "bold green", REGRESSION: "bold red"}
    console.print(Text(comparison.sentence, style=style.get(comparison.exit_code, "bold yellow")))


def _fitting(comparison: Comparison, console: Console) -> Table:
    """Return the widest table that fits: columns are left out, and no number is ever cut."""
    wide = console.width >= _WIDE
    unbounded = console.options.update(max_width=10 * _WIDE)
    for without in _LEFT_OUT[0 if wide else 1 :]:
        table = _table(comparison, narrow=bool(without), without=without)
        if Measurement.get(console, unbounded, table).maximum <= console.width:
            break
    return table


def _table(comparison: Comparison, *, narrow: bool, without: Collection[str]) -> Table:
    """Return the table; narrow: with short words. without: the columns that are left out."""
    padding = (0, 0) if narrow else (0, 1)
    title = words.boots(comparison)
    table = Table(box=box.SIMPLE_HEAD, title=title, pad_edge=False, padding=padding)
    kept = [column for column in _COLUMNS if column not in without]
    for column in kept:
        text = column in ("", "verdict")
        name = column.replace("boots", f"{comparison.observation}s")
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    for head, rows in comparison.groups.items():
        table.add_section()
        table.add_row(Text(head, style="bold"))
        for row in rows:
            style = _STYLES.get(row.verdict, "") if row.decides else "dim"
            cells = _cells(row, narrow=narrow, spreads="±" not in without)
            table.add_row(*(cells[column] for column in kept), style=style)
    return table


def _cells(row: Row, *, narrow: bool, spreads: bool) -> dict[str, str]:
    """Return what stands in each column; spreads: with the intervals of the medians."""

    def side(of: Side) -> str:
        text = words.median(of, row.unit)
        return f"{text} {words.spread(of):<5}" if spreads else text

    return {
        "": short_label(row) if narrow else label(row),
        "base": side(row.base),
        "new": side(row.new),
        "change": words.change(row),
        "interval": words.interval(row),
        "verdict": words.verdict(row, short=narrow),
        "boots needed": "" if row.needed is None else boots(row.needed),
    }

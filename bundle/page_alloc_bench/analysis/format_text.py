# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as plain text of at most 72 columns, for a commit message."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

from . import format_words as words
from .comparison import Comparison, Row, boots, short_label
from .instructions import words as path_words

WIDTH = 72
_NAME = 12
_OPEN = ("unknown", "worse, size unclear")
_APART = "shown, and tested apart; decides nothing:"
_SHOWN = "shown; decides nothing:"
_GLUE = "\0"  # where no line is to be broken
_NUMBER_OF = {"boot": "Boots a side", "host": "Hosts"}
# Columns: name, base, its interval, new, its interval, change, its interval, verdict.
_LINE = "{:<12} {:>8} {:<5} {:>8} {:<5} {:>6} {:<13} {}"


def render(comparison: Comparison) -> str:
    """Return the text: what differs, the verdict, the table, how to read it."""
    blocks = [
        [line for text in words.differences(comparison) for line in _wrap(text)],
        _wrap(comparison.sentence),
        *(_group(comparison, head, rows) for head, rows in comparison.groups.items()),
        [*path_words.by_function(comparison.paths)][1:],
        _geomeans(comparison),
        _needed(comparison),
        [line for text in words.strata(comparison) for line in _wrap(text)],
        [line for text in comparison.warnings for line in _wrap(f"warning: {text}")],
        _wrap(words.legend(comparison)),
    ]
    title = f"page-alloc-bench compare: {words.boots(comparison)}"
    return "\n\n".join([title, *("\n".join(lines) for lines in blocks if lines)]) + "\n"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _group(comparison: Comparison, name: str, rows: Sequence[Row]) -> list[str]:
    short = name if len(name) <= _NAME else ""
    head = _LINE.format(short, "base", "", "new", "", "change", "", "verdict")
    lines = [head.rstrip()] if short else [*_wrap(name), head.rstrip()]
    for row in rows:
        if row.decides:
            lines += _row(row)
    apart = [line for row in rows if not row.decides for line in _row(row)]
    return [*lines, *([_SHOWN if comparison.counted else _APART] if apart else []), *apart]


def _row(row: Row) -> list[str]:
    name = short_label(row)
    line = _LINE.format(
        name if len(name) <= _NAME else "",
        words.median(row.base, row.unit),
        words.spread(row.base),
        words.median(row.new, row.unit),
        words.spread(row.new),
        words.change(row),
        words.interval(row),
        words.verdict(row, short=True),
    ).rstrip()
    return [line] if len(name) <= _NAME else [name[:WIDTH], line]


def _geomeans(comparison: Comparison) -> list[str]:
    lines = []
    for mean in comparison.geomeans:
        text = f"geomean of {mean.family} ({mean.rows} rows): {words.change(mean)}"
        inside = words.interval(mean)
        lines += _wrap(text + (f" ({inside})" if inside else ""))
    return lines


def _needed(comparison: Comparison) -> list[str]:
    """Return how many boots would have been needed where nothing could be told."""
    open_rows = [r for r in comparison.deciding if r.verdict in _OPEN and r.needed is not None]
    if not open_rows:
        return []
    lines = _wrap(
        f"{_NUMBER_OF[comparison.observation]} until a figure decides, with 80 % power, by the "
        "spread seen (and by the 95 % interval of that spread):"
    )
    for case, rows in groupby(open_rows, key=lambda row: row.case):
        each = (f"{short_label(row)} {boots(row.needed)}" for row in rows if row.needed)
        glued = ", ".join(text.replace(" ", _GLUE) for text in each)
        lines += [line.replace(_GLUE, " ") for line in _wrap(f"  {case}: {glued}")]
    return lines

# SPDX-License-Identifier: GPL-2.0-only
"""Fit text for people into the columns that there are: a terminal's, or 80."""

from __future__ import annotations

import os
import re

LEAST, USUAL = 40, 80

# What stands before the text of a line, and is indented in the lines that it goes on in: spaces,
# and the first column of a table, which two spaces or more end.
_HEAD = re.compile(r" *(?:\S+(?: \S+)* {2,})?")


def of(fd: int, most: int = USUAL) -> int:
    """Return how many columns to use on a descriptor, at least LEAST and at most MOST.

    They are USUAL where it is not a terminal.
    """
    try:
        columns = os.get_terminal_size(fd).columns or USUAL
    except OSError:
        return USUAL
    return min(max(columns, LEAST), most)


def wrap(text: str, width: int, indent: str = "", *, first: str = "") -> list[str]:
    """Return the lines of a text, no word of it cut. first: begins the first, indent the others."""
    import textwrap

    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip


def fill(text: str, width: int) -> str:
    """Return a text whose lines are paragraphs, each within so many columns.

    A line's indentation, and that of the second column if it is of a table, is kept.
    """
    rows: list[str] = []
    for line in text.split("\n"):
        if len(line) <= width:
            rows.append(line.rstrip())
            continue
        found = _HEAD.match(line)
        head = found[0] if found else ""
        indent = " " * len(head)
        rows += wrap(line[len(head) :], width, indent, first=head) or [""]
    return "\n".join(rows)

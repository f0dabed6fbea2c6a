# SPDX-License-Identifier: GPL-2.0-only
"""Fit text for people into the columns that there are: a terminal's, or 80."""

from __future__ import annotations

import os

LEAST, USUAL = 40, 80


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
    """Return the lines of a text, no word of it cut. first: begins the first, indent the others.

    textwrap does it in the same way, and takes long to import.
    """
    lines: list[str] = []
    line, gap, words = first, "", 0
    for number, word in enumerate(text.expandtabs().replace("\n", " ").split(" ")):
        gap += " " if number else ""
        if not word:
            continue
        if words and len(line) + len(gap) + len(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line += gap + word
        gap, words = "", words + 1
    return [*lines, line] if words else []


def fill(text: str, width: int) -> str:
    """Return a text whose lines are paragraphs, each within so many columns.

    A line's indentation, and that of the second column if it is of a table, is kept.
    """
    rows: list[str] = []
    for line in text.split("\n"):
        if len(line) <= width:
            rows.append(line.rstrip())
            continue
        head = _head(line)
        indent = " " * len(head)
        rows += wrap(line[len(head) :], width, indent, first=head) or [""]
    return "\n".join(rows)


def _head(line: str) -> str:
    """Return what stands before the text of a line, and is indented in those that it goes on in.

    It is spaces, and the first column of a table, which two spaces or more end.
    """
    text = line.lstrip(" ")
    _, gap, second = text.partition("  ")
    return line[: len(line) - len(second.lstrip(" ") if gap else text)]

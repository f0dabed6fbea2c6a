# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as Markdown, for a merge request or a mail that is rendered."""

from __future__ import annotations

from . import format_words as words
from .comparison import Comparison, Row, boots, label
from .instructions import words as path_words


def render(comparison: Comparison) -> str:
    """Return the Markdown: what differs, the verdict, a table, how to read it."""
    parts = [
        f"**{_plain(comparison.sentence)}** ({words.boots(comparison)})",
        "\n".join(f"- {_plain(text)}" for text in words.differences(comparison)),
        "\n".join([
            "| | order | base | new | change | interval | verdict | decides | "
            f"{comparison.observation}s needed |",
            "| --- | ---: | ---: | ---: | ---: | --- | --- | --- | ---: |",
            *(_row(row) for row in comparison.rows),
        ]),
        _by_function(comparison),
        "\n".join(
            f"- geomean of {_plain(mean.family)} ({mean.rows} rows): "
            f"{words.change(mean)} ({words.interval(mean) or 'no interval'})"
            for mean in comparison.geomeans
        ),
        "\n".join(f"- {_plain(text.removeprefix('- '))}" for text in words.strata(comparison)),
        "\n".join(f"- warning: {_plain(text)}" for text in comparison.warnings),
        _plain(words.legend(comparison)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _by_function(comparison: Comparison) -> str:
    lines = [*path_words.by_function(comparison.paths)][1:]
    return "\n".join(["```", *lines, "```"]) if lines else ""


def _row(row: Row) -> str:
    cells = (
        label(row),
        str(row.case).removeprefix("order "),
        f"{words.median(row.base, row.unit)} {words.spread(row.base)}",
        f"{words.median(row.new, row.unit)} {words.spread(row.new)}",
        words.change(row),
        words.interval(row),
        words.verdict(row, short=False),
        "yes" if row.decides else "",
        "" if row.needed is None else boots(row.needed),
    )
    return "| " + " | ".join(_plain(str(cell)) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Return text with what Markdown would take for its own escaped."""
    for character in "\\`*_|<>~[]":
        text = text.replace(character, "\\" + character)
    return text

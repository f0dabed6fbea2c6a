# SPDX-License-Identifier: GPL-2.0-only
"""The text of --help, without argparse, which takes longer than all else that it needs."""

from __future__ import annotations

from page_alloc_bench.runner.result import columns

from . import common, groups, texts

_NARROW = 60  # columns; up to there what an option does begins below it
_WORDS = ("--help", "-h", "-help")  # Go's flag package takes one dash too


def is_all_asked(arguments: list[str]) -> bool:
    """Return whether a command line asks for the help, and for nothing else."""
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    return len(words) == 1 and words[0] in _WORDS


def text() -> str:
    """Return the help, as wide as the terminal."""
    width = columns.of(1)
    parts = [f"usage: {texts.USAGE}", columns.fill(texts.DESCRIPTION, width)]
    for title, options in groups.every().items():
        told = [(option.shown, option.help_text) for option in options]
        if title == common.OUTPUT.title:
            told += [("--version", texts.VERSION), ("--help, -h", texts.HELP)]
        parts.append("\n".join([f"{title}:", *(_told(*each, width) for each in told)]))
    return "\n\n".join([*parts, columns.fill(texts.EPILOG, width).rstrip("\n")])


def _told(shown: str, what: str, width: int) -> str:
    """Return the lines of an option: its form, and beside it or below it what it does."""
    column = 24 if width > _NARROW else 6
    head = f"  {shown}"
    indent = " " * column
    if len(head) + 2 <= column:
        return "\n".join(columns.wrap(what, width, indent, first=head.ljust(column)))
    return "\n".join([head, *columns.wrap(what, width, indent, first=indent)])

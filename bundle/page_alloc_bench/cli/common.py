# SPDX-License-Identifier: GPL-2.0-only
"""What all subcommands share; it imports nothing that one of them could do without."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import click

from page_alloc_bench.runner.result import columns

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_NO_FILES = ("-", "none")


class PathType(click.Path):
    """A path as a command line has it; an empty one is refused, and not the current directory.

    What is a file by its ./ stays one, and does not become a word that stands for something else.
    """

    def __init__(self, **more: Any) -> None:
        """more: as for click.Path."""
        super().__init__(path_type=Path, **more)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path. Raises click.BadParameter."""
        if value == "":
            self.fail("it is empty", param, ctx)
        path = super().convert(value, param, ctx)
        if str(path) in _NO_FILES and os.fspath(value) != str(path):
            return Path(os.path.abspath(str(path)))  # a Path has no ./
        return path


# A file to write, for page_alloc_bench.outputs.
OUTPUT = PathType()
# A directory that a command reads or makes.
DIRECTORY = PathType()
JOBS = click.IntRange(1, 9999)  # make takes a much larger one for no number
_WHOLE = 1000
_FIRST, _SECOND = 10, 28  # columns of a table in --help
_CHOICE, _MORE = re.compile(r"(?<=\|)"), 4
_OF_TABLE = re.compile(r"\S {2,}\S|^ {8,}\S")


class Codes(NamedTuple):
    """The exit codes of a command, where others mean something else: a verdict, for example."""

    failed: int = 1
    usage: int = 2


def terminal_columns() -> int | None:
    """Return how many columns the terminal has that stdout is, columns.LEAST at least.

    None where stdout is not a terminal: nothing needs to be broken into lines for a program.
    """
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, columns.LEAST)


class HelpFormatter(click.HelpFormatter):
    """Follows terminals that are narrower than click's least, down to columns.LEAST."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        super().__init__(indent_increment, width, max_width)
        if width is None:
            there = max(shutil.get_terminal_size().columns, columns.LEAST)
            self.width = min(self.width, there - 2)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write a table of two columns, of which the second has room."""
        least = self.width - _SECOND
        broken = [(self._broken(first), second) for first, second in rows]
        super().write_dl(broken, max(min(col_max, least), _FIRST), col_spacing)

    def _broken(self, name: str) -> str:
        """Return an option with its choices, in lines if it is too long for one."""
        lines = [""]
        for part in _CHOICE.split(name):
            if lines[-1] and self.current_indent + len(lines[-1]) + len(part) > self.width:
                lines.append(" " * (self.current_indent + _MORE))
            lines[-1] += part
        return "\n".join(lines)

    def write_text(self, text: str) -> None:
        """Write paragraphs; of what click leaves as it is, lines of tables are broken to fit.

        Others are commands, which a terminal breaks so that they can be copied.
        """
        start = len(self.buffer)
        super().write_text(text)
        made = "".join(self.buffer[start:])
        self.buffer[start:] = [
            "\n".join(
                columns.fill(line, self.width) if _OF_TABLE.search(line) else line
                for line in made.split("\n")
            )
        ]


click.Context.formatter_class = HelpFormatter


def complain(message: str, advice: str = "") -> None:
    """Print what went wrong and, below it, what to do."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
    if advice:
        click.secho("  try: ", bold=True, nl=False, err=True)
        click.echo(advice, err=True)


class Group(click.Group):
    """A command that has commands: their summaries are whole in its help, also without one."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Parse; where there is nothing to, print the help as what should have been asked for."""
        if not args and not context.resilient_parsing:
            click.echo(context.get_help(), err=True)
            context.exit(Codes().usage)
        return super().parse_args(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summary of each command whole; click cuts it at the end of the line."""
        rows = []
        for name in self.list_commands(context):
            command = self.get_command(context, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(limit=_WHOLE)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class BenchCommand(click.Command):
    """A command that passes options on to the benchmark: those that follow a `--`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Parse; where an option is not known, say how the benchmark's own are given."""
        words = list(args)
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            # click splits -iterations=3 into letters.
            named = (word for word in words if word.startswith(error.option_name))
            word = next(named, error.option_name)
            raise click.UsageError(
                f"No such option: {word}. Options of the benchmark follow a `--`: "
                f"{context.command_path} ... -- {word} ...",
                context,
            ) from error

# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench help``: the manual."""

from __future__ import annotations

import io
import re
import shutil
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from page_alloc_bench.cli.common import CONTEXT
from page_alloc_bench.runner.result import names

_MANUAL = Path(__file__).resolve().parents[1] / "manual"
_WIDTH = 100  # columns; longer lines are hard to read
_WORD = 26  # columns that a long word gets whole, if it can be
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE)
_PICTURE = re.compile(r"!\[(?P<what>[^]\n]*)\]\((?P<file>[\w.-]+)\)")
_OTHER_TOPIC = re.compile(r"\[[^]\n]+\]\((?P<topic>[\w-]+)\.md(?:#[\w-]+)?\)")


def topics() -> dict[str, Path]:
    """Return the file of each topic of the manual, by the topic's name."""
    return {file.stem: file for file in sorted(_MANUAL.glob("*.md"))}


def _complete(_context: object, _parameter: object, begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in topics() if name.startswith(begun)]


@click.command("help", context_settings=CONTEXT)
@click.argument("topic", required=False, shell_complete=_complete)
@click.pass_context
def help(context: click.Context, topic: str | None) -> None:  # noqa: A001 - the command's name
    """Show a topic of the manual, or list the topics.

    On a terminal the topic is shown by the pager that PAGER names.
    """
    there = topics()
    if topic is None:
        click.echo("Topics, for `page-alloc-bench help TOPIC`:\n")
        width = max(map(len, there))
        for name, file in there.items():
            click.echo(f"  {name:{width}}  {_title(file.read_text('utf-8'))}")
    elif topic in there:
        click.echo_via_pager(_rendered(there[topic].read_text("utf-8")))
    else:
        group = context.find_root().command
        if isinstance(group, click.Group) and topic in group.list_commands(context):
            raise click.UsageError(
                f"no topic is called {topic}; the command is explained by "
                f"`page-alloc-bench {topic} --help`"
            )
        raise click.UsageError(
            f"no topic is called {topic}. {names.instead_of(topic, there)}", context
        )


def _title(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ")


def _rendered(text: str) -> str:
    """Return Markdown as a terminal shows it, or as it stands if stdout is not a terminal."""
    text = _OTHER_TOPIC.sub(r"`page-alloc-bench help \g<topic>`", _COMMENT.sub("", text))
    text = _PICTURE.sub(lambda found: f"{found['what']}: `{_MANUAL / found['file']}`", text)
    if not sys.stdout.isatty():
        return text
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table
    from rich.theme import Theme

    class WholeWords(TableElement):
        """A table that cuts no word: rich ends one that is longer than its column with dots."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                if isinstance(part, Table):
                    for column in part.columns:
                        words = (word for cell in column.cells for word in str(cell).split())
                        column.min_width = min(max(map(len, words), default=0), _WORD)
                        column.overflow = "fold"
                yield part

    class Manual(Markdown):
        elements = {**Markdown.elements, "table_open": WholeWords}  # noqa: RUF012 - as in rich

    output = io.StringIO()
    console = Console(
        file=output,
        force_terminal=True,
        color_system="standard",
        width=min(shutil.get_terminal_size().columns, _WIDTH),
        theme=Theme({"markdown.code": "bold", "markdown.code_block": "none"}),
    )
    console.print(Manual(text, hyperlinks=False, code_theme="bw"))
    return output.getvalue()

# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench man``: the manual page, made from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

import page_alloc_bench
from page_alloc_bench.cli.common import CONTEXT

# See man-pages(7) for the sections, groff_man(7) for the requests.
_LAST = """\
.SH EXIT STATUS
0: done. 1: failed. 2: wrong usage, an output file that cannot be written, or a file that is not a
result. 3: the host or the kernel tree is not fit, or the output was lost. 128+n: ended by signal n.
.PP
compare has verdicts: 0 no regression, 1 a regression, 2 cannot tell, 3 all else. run and vm end as
the benchmark did.
.SH FILES
.TP
.I ${XDG_CACHE_HOME:-~/.cache}/page-alloc-bench
Kernels, guest roots and wheels that were fetched.
"""


@click.command(context_settings=CONTEXT)
@click.pass_context
def man(context: click.Context) -> None:
    """Print this manual as a manual page: `page-alloc-bench man | man -l -` shows it."""
    group = context.find_root()
    assert isinstance(group.command, click.Group)
    click.echo(page(group.command, group), nl=False)


def page(group: click.Group, context: click.Context) -> str:
    """Return the manual page of a group of commands, for man(1)."""
    name = "page-alloc-bench"
    lines = [
        f'.TH {name.upper()} 1 "" "{name} {page_alloc_bench.__version__}" "User Commands"',
        ".ad l",
        ".SH NAME",
        f"{name} \\- {_escaped(group.get_short_help_str(200).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {name}",
        "COMMAND [OPTION...] [ARGUMENT...]",
        ".SH DESCRIPTION",
        *_text(group.help or ""),
        ".SH COMMANDS",
    ]
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        if command is not None:
            lines += _command(command, click.Context(command, info_name=each))
    return "\n".join(lines) + "\n" + _LAST


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join([str(context.info_name), *command.collect_usage_pieces(context)])
    yield f".SS {_escaped(usage)}"
    yield from _text(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            yield ".TP"
            yield f".B {_escaped(record[0])}"
            yield _escaped(record[1])


def _text(text: str) -> Iterator[str]:
    """Yield paragraphs; one that begins with \\b is kept as it stands, as click does."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        kept = paragraph.startswith("\b")
        lines = [line for line in paragraph.splitlines() if line.strip("\b")]
        yield ".PP"
        if kept:
            yield ".nf"
        yield from map(_escaped, lines)
        if kept:
            yield ".fi"


def _escaped(text: str) -> str:
    """Return text of which groff takes no character for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    text = text.replace("|", "|\\:")  # where a long choice may be broken
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)

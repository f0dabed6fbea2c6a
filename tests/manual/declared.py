# SPDX-License-Identifier: GPL-2.0-only
"""What the code declares, as rows: options, checks, metrics, exit codes, topics."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from page_alloc_bench import cli
from page_alloc_bench.cli import exit_codes
from page_alloc_bench.runner import options, workload
from page_alloc_bench.runner.preflight import verdict
from page_alloc_bench.runner.result import metrics as declarations
from page_alloc_bench.runner.result.metrics import Subtest

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "bundle/page_alloc_bench"
MANUAL = PACKAGE / "manual"

Codes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """A name and what it means, as Markdown.

    name: as it is typed, without marks.
    """

    name: str
    meaning: str


@dataclass(frozen=True)
class Group:
    """Options that stand under one title."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Command:
    """A subcommand: its usage in a line, what it says of itself, and its options.

    name: its words, such as "fleet run".
    """

    name: str
    usage: str
    text: str
    rows: list[Row]


def bundle_groups() -> list[Group]:
    """Return the options of a bundle, from its own parser."""
    parser = options.argument_parser()
    return [
        Group(
            _capital(group.title), [_bundle_row(parser, action) for action in group._group_actions]
        )
        for group in parser._action_groups
        if group._group_actions
    ]


def _capital(title: str | None) -> str:
    return f"{title}"[:1].upper() + f"{title}"[1:]


def _bundle_row(parser: argparse.ArgumentParser, action: argparse.Action) -> Row:
    names = sorted(action.option_strings, key=len)
    metavar = ""
    if action.nargs != 0:
        choices = "|".join(map(str, action.choices)) if action.choices else ""
        metavar = " " + str(action.metavar or choices)
        if metavar.startswith(" {"):
            metavar = metavar.replace(",", "|").translate({ord("{"): None, ord("}"): None})
    return Row(", ".join(names) + metavar, escaped(action.help or ""))


def commands() -> list[Command]:
    """Return all subcommands in the order of --help, those of one of them after it."""
    return list(_of_group(cli.main, ""))


def _of_group(group: click.Group, before: str) -> Iterator[Command]:
    """Yield what a group has; before: the words of the group, and a space."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command
        yield _command(f"{before}{name}", command)
        if isinstance(command, click.Group):
            yield from _of_group(command, f"{before}{name} ")


def _command(name: str, command: click.Command) -> Command:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = (
        parameter.get_help_record(context)
        for parameter in command.get_params(context)
        if "--help" not in parameter.opts
    )
    rows = [Row(record[0], escaped(record[1])) for record in records if record and record[1]]
    return Command(name, usage, _text(command.help or ""), rows)


def _text(text: str) -> str:
    """Return the text of a command as Markdown: what click keeps as it stands is an example."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.startswith("\b"):
            parts.append("```\n" + inspect.cleandoc(paragraph.lstrip("\b\n")) + "\n```")
        else:
            parts.append(escaped(paragraph))
    return "\n\n".join(parts)


def escaped(text: str) -> str:
    """Return text in which Markdown takes nothing but `code` for its own."""
    parts = re.split(r"(`[^`\n]*`)", text)
    return "".join(
        part if number % 2 else re.sub(r"([\\*<>\[\]#|]|\b_\B|\B_\b)", r"\\\1", part)
        for number, part in enumerate(parts)
    )


def verdicts() -> list[tuple[str, Codes]]:
    """Return exit codes with the commands that have them in place of the common ones."""
    names: dict[Codes, list[str]] = {}
    for name, codes in exit_codes.VERDICTS.items():
        names.setdefault(codes, []).append(f"**{name}**")
    return [(" and ".join(those), codes) for codes, those in names.items()]


def checks() -> Iterator[tuple[str, str, str, str]]:
    """Yield each check of the preflight: name, severity, what it looks at, what that means."""
    for check in verdict.CHECKS:
        yield check.name, check.severity, check.subject, check.meaning


def metrics() -> Iterator[tuple[str, str, str, str]]:
    """Yield each metric of a result: name without its order, unit, better, what it is."""
    for metric in declarations.every().values():
        yield metric.name, metric.unit, metric.better or "neither", metric.description


def workloads() -> Iterator[Row]:
    """Yield what --workload names, and what each tells."""
    for each in workload.every().values():
        yield Row(each.name, escaped(each.isolates))


def subtests() -> Iterator[tuple[str, list[Subtest]]]:
    """Yield each workload with the subtests of KTAP that it has for an order, in their order."""
    known = {phase.name: phase.subtests for phase in declarations.phases()}
    for name in workload.every():
        planned = workload.plan(options.parse(["--workload", name]))
        yield name, list(dict.fromkeys(each for phase, _ in planned for each in known[phase]))


def topics() -> Iterator[Row]:
    """Yield each topic of the manual and its title."""
    for path in sorted(MANUAL.glob("*.md")):
        yield Row(path.stem, path.read_text().partition("\n")[0].removeprefix("# "))

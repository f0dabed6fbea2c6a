# SPDX-License-Identifier: GPL-2.0-only
"""The manual and its pages tell of every command and workload, also of those within a command."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manual import pages
from manual.declared import MANUAL
from page_alloc_bench import cli
from page_alloc_bench.cli import exit_codes
from page_alloc_bench.cli.common import Codes
from page_alloc_bench.runner import options, workload
from page_alloc_bench.runner.result.document import Document
from page_alloc_bench.runner.telling.ktap import Ktap

TOP = Path(__file__).resolve().parents[2]


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its words, and those within a command after it."""
    pending: list[tuple[str, click.Command]] = [("", cli.main)]
    while pending:
        words, command = pending.pop(0)
        if words:
            yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found
                pending.append((f"{words} {name}".strip(), found))


def heads(text: str, mark: str) -> dict[str, str]:
    """Return what follows each line of a text that matches, by the group of the pattern mark."""
    parts = re.split(mark, text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def is_of(head: str, words: str, command: click.Command) -> bool:
    """Whether the head of a section of the page is a command's usage."""
    usage = command.collect_usage_pieces(click.Context(command))
    return head == " ".join([words, *usage])


def names(text: str) -> set[str]:
    """Return the options that a text names."""
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))


def test_the_pages_have_every_command_and_option() -> None:
    page = re.sub(r"\\f[BIPR]", "", pages.path("page-alloc-bench.1").read_text())
    page = page.replace("\\-", "-")
    sections = heads(page.partition("\n.SH Exit status\n")[0], r"^\.SS (.*)$")
    for words, command in every_command():
        [section] = [text for head, text in sections.items() if is_of(head, words, command)]
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or set(parameter.opts) <= names(section)
    page = pages.path("bench.run.1").read_text().replace("\\-", "-")
    help_ = subprocess.run(
        [
            sys.executable,
            "-c",
            "from page_alloc_bench.runner import options; options.parse(['-h'])",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    asked = set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", help_, re.MULTILINE))
    assert len(asked) > 20
    assert {option for option in asked if f"{option}" not in page} == set()


def test_a_topic_has_a_table_of_the_options_of_every_command() -> None:
    tables = [
        names("".join(re.findall(r"^\| (`-.*?`) \|", text, re.MULTILINE)))
        for topic in MANUAL.glob("*.md")
        for text in heads(topic.read_text(), r"^<!-- options of (.*): written by .*$").values()
    ]
    lacking = [
        words
        for words, command in every_command()
        if (asked := {o for p in command.params if isinstance(p, click.Option) for o in p.opts})
        and not any(asked <= table for table in tables)
    ]
    assert lacking == []


def test_a_command_that_ends_in_its_own_way_has_codes_of_its_own() -> None:
    others = {
        words
        for words, command in every_command()
        if not isinstance(command, click.Group) and getattr(command, "codes", Codes()) != Codes()
    }
    assert others == set(exit_codes.VERDICTS)
    assert "fleet ab" in others


@pytest.mark.parametrize("name", exit_codes.VERDICTS)
def test_the_page_has_the_exit_codes_of_a_command(name: str) -> None:
    page = pages.markdown("page-alloc-bench.1")
    told = page.partition("\n# Exit status\n")[2].partition("\n# ")[0]
    [text] = [text for head, text in heads(told, r"^Of (.*):$").items() if f"**{name}**" in head]
    listed = text.partition("\n**")[0]
    assert (
        tuple(re.findall(r"^`(\S+)`\n: (.*)$", listed, re.MULTILINE)) == exit_codes.VERDICTS[name]
    )


@pytest.mark.parametrize("name", exit_codes.VERDICTS)
def test_the_topic_has_the_exit_codes_of_a_command(name: str) -> None:
    topic = (MANUAL / "exit-codes.md").read_text()
    [text] = [text for head, text in heads(topic, r"^## (.*)$").items() if f"`{name}`" in head]
    told = re.findall(r"^\| (\d\S*) \| (.*) \|$", text, re.MULTILINE)
    assert tuple(told) == exit_codes.VERDICTS[name]


def test_the_readme_names_each_command_that_has_exit_codes_of_its_own() -> None:
    [head] = re.findall(r"^\| exit code \| .*$", (TOP / "README.md").read_text(), re.MULTILINE)
    _, _, _, verdicts, others, _ = head.split("|")
    assert set(re.findall("`(.*?)`", verdicts)) == set(exit_codes.VERDICTS)
    assert others.strip() == "other commands"


@pytest.mark.parametrize("name", exit_codes.VERDICTS)
def test_the_help_of_a_command_has_its_exit_codes(name: str) -> None:
    done = CliRunner().invoke(cli.main, [*name.split(), "--help"])
    told = done.stdout[done.stdout.index("  Exit codes:") :]
    assert done.exit_code == 0
    assert re.findall(r"^    (\S+)  +\w", told, re.MULTILINE) == [
        code for code, _ in exit_codes.VERDICTS[name]
    ]


@pytest.mark.parametrize("name", exit_codes.VERDICTS)
def test_exit_codes_of_a_command_name_its_own_options(name: str) -> None:
    command = dict(every_command())[name]
    own = {option for each in command.params for option in each.opts}
    told = {
        option for _, text in exit_codes.VERDICTS[name] for option in re.findall("--[a-z-]+", text)
    }
    assert told <= own


@pytest.mark.parametrize("name", workload.every())
def test_the_topic_has_the_subtests_that_a_workload_tells(name: str) -> None:
    asked = options.parse(["--workload", name])
    planned = workload.plan(asked)
    lines: list[str] = []
    ktap = Ktap(lines.append, list(dict.fromkeys(order for _, order in planned)), planned)
    ktap.loaded(Document({"kernel": {"release": "6.1.0", "machine": "x86_64"}}))
    for phase, order in planned:
        ktap.phase_ended({"name": phase, "order": order}, None)
    told = dict.fromkeys(re.findall(r"^  (?:not )?ok \d+ (\w+)", "".join(lines), re.MULTILINE))
    topic = (MANUAL / "ktap.md").read_text()
    [row] = re.findall(rf"^\| `{name}` \| (.*?) \|.*\|$", topic, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(told)
    assert told


def test_the_topic_names_each_workload_that_all_leaves_out() -> None:
    topic = " ".join((MANUAL / "workloads.md").read_text().split())
    [told] = re.findall(r"`all` measures every workload(.*?)\. ", topic)
    left_out = {each.name for each in workload.every().values() if not each.in_all}
    assert set(re.findall("`(.*?)`", told)) == left_out

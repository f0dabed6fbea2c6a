# SPDX-License-Identifier: GPL-2.0-only
"""The documents: their links lead somewhere, in the wheel too, and their tables are up to date."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hatchling.builders.wheel import WheelBuilder

from manual import declared, pages, tables
from page_alloc_bench import cli

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "bundle/page_alloc_bench"
MANUAL = PACKAGE / "manual"
TOPICS = sorted(MANUAL.glob("*.md"))
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("tests/**/README.md"), *TOPICS])
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """Return the text of a document without its examples."""
    return _FENCED.sub("", document.read_text())


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the heading that each link within the project names."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if not re.match(r"[a-z]+:", target):
            name, _, heading = target.partition("#")
            yield ((document.parent / name).resolve() if name else document), heading


def headings(document: Path) -> set[str]:
    """Return the names that links give to the headings of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for file, heading in links(document):
        assert file.exists(), file
        if heading:
            assert heading in headings(file), heading


def test_the_links_of_the_manual_hold_in_the_wheel(tmp_path: Path) -> None:
    wheel = next(WheelBuilder(str(TOP)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    pages_there = {name for name in there if name.endswith(".1")}
    assert {Path(name).name for name in pages_there} == set(pages.NAMES)
    assert all(".data/data/share/man/man1/" in name for name in pages_there)
    for topic in TOPICS:
        assert f"page_alloc_bench/manual/{topic.name}" in there
        for file, _heading in links(topic):
            assert str(file.relative_to(TOP / "bundle")) in there


def test_the_readme_is_short_and_leads_to_every_topic_and_table() -> None:
    readme = TOP / "README.md"
    assert len(readme.read_text().splitlines()) <= 200
    linked = {file for file, _heading in links(readme)}
    assert set(DOCUMENTS) - {readme, TOP / "tests/data/results/README.md"} <= linked


def test_every_path_that_contributors_are_told_of_is_there() -> None:
    named = re.findall(r"`(?:\./)?([\w.-]+/[\w./-]*)", prose(TOP / "CONTRIBUTING.md"))
    paths = [re.sub(r"\bNAME\b.*", "", name) for name in named]
    assert len(paths) > 30
    roots = (TOP, TOP / "tests", PACKAGE / "analysis", TOP / "kmod")
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("topic", TOPICS, ids=lambda path: path.stem)
def test_a_topic_begins_with_its_title(topic: Path) -> None:
    first, second, *_ = topic.read_text().splitlines()
    assert re.fullmatch(r"# [A-Z].{10,70}[^.]", first)
    assert second == ""


@pytest.mark.parametrize("part", tables.GENERATED, ids=lambda part: f"{part.path.stem}-{part.name}")
def test_a_table_is_what_the_code_declares(part: tables.Generated) -> None:
    text = part.path.read_text()
    assert part.update(text) == text, "run scripts/manual"


@pytest.mark.parametrize("name", pages.NAMES)
def test_a_manual_page_is_what_the_code_declares(name: str) -> None:
    assert pages.path(name).read_text() == pages.roff(name), "run scripts/manual"


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man here to format it")
@pytest.mark.parametrize("name", pages.NAMES)
def test_man_formats_a_page_without_a_warning(name: str) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", str(pages.path(name))],
        env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    words = done.stdout.split()
    program = name.removesuffix(".1")
    assert words[0] == f"{program}(1)"
    assert words[words.index("Name") + 1 :][:2] == [program, "-"]


def call(*arguments: str, **environment: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.main, list(arguments), env=environment)
    return done.exit_code, done.stdout, done.stderr


def test_help_lists_the_topics_with_their_titles() -> None:
    code, stdout, _ = call("help")
    assert code == 0
    listed = [line.split(maxsplit=1) for line in stdout.splitlines()[2:]]
    assert listed == [[row.name, row.meaning] for row in declared.topics()]
    assert max(map(len, stdout.splitlines())) <= 80


@pytest.mark.parametrize("topic", TOPICS, ids=lambda path: path.stem)
def test_help_shows_a_topic_as_plain_text_where_there_is_no_terminal(topic: Path) -> None:
    code, stdout, _ = call("help", topic.stem)
    assert code == 0
    assert stdout.startswith(topic.read_text().splitlines()[0])
    assert "<!--" not in stdout
    assert "\x1b" not in stdout
    assert ".md)" not in stdout
    pictures = re.findall(r"`(/[^`]*\.svg)`", stdout)
    assert len(pictures) == topic.read_text().count(".svg)")
    assert all(Path(picture).is_file() for picture in pictures)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("preflght", "preflight"), ("exitcodes", "exit-codes"), ("kernels", "kernels --help")],
)
def test_a_wrong_topic_is_answered_by_a_right_one(wrong: str, right: str) -> None:
    code, stdout, stderr = call("help", wrong)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("error: ")
    assert right in stderr


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_gets_a_topic_through_the_pager_and_in_its_width(
    width: int, tmp_path: Path
) -> None:
    shown = tmp_path / "shown"
    pager = tmp_path / "pager"
    pager.write_text(f"#!/bin/sh\ncat >{shlex.quote(str(shown))}\n")
    pager.chmod(0o755)
    words = shlex.join([sys.executable, "-m", "page_alloc_bench.cli", "help", "preflight"])
    subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env={**os.environ, "PAGER": str(pager), "COLUMNS": str(width), "TERM": "xterm"},
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.read_text())
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert "…" not in text.replace("…_", "")
    flat = re.sub(r"\s+", "", text)
    assert "modules-disabled" in flat


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home directory; its bin/ has the program under both of its names."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("page-alloc-bench", "pab"):
        program = directory / name
        code = f"from page_alloc_bench.__main__ import main; main({name!r})"
        program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", code])} "$@"\n')
        program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "line", "wanted"),
    [
        ("page-alloc-bench", "hel", "help"),
        ("page-alloc-bench", "vm --nod", "--nodes"),
        ("page-alloc-bench", "kernels 6.1-r", "6.1-rt"),
        ("pab", "help pref", "preflight"),
    ],
)
def test_bash_completes_after_the_one_command(
    name: str, line: str, wanted: str, home: Path
) -> None:
    environment = {
        **os.environ, "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}",
        "SHELL": "/bin/bash",
    }  # fmt: skip
    environment.pop("XDG_DATA_HOME", None)
    subprocess.run([f"{home}/bin/{name}", "completion", "--install"], env=environment, check=True)
    words = [name, *line.split()]
    script = (
        f"source {home}/.local/share/bash-completion/completions/{name}; "
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        f"$(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {name}; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [wanted], done.stderr


def test_zsh_is_told_which_line_to_add() -> None:
    code, _, stderr = call("completion", "zsh", "--install")
    assert code == 2
    assert 'eval "$(page-alloc-bench completion zsh)"' in stderr
    assert call("completion", SHELL="/bin/tcsh")[0] == 2


def test_the_help_of_every_command_ends_with_its_exit_codes() -> None:
    for name in cli.main.list_commands(click.Context(cli.main)):
        code, stdout, _ = call(name, "--help")
        told = stdout[stdout.index("  Exit codes:") :]
        assert code == 0
        assert max(map(len, told.splitlines())) <= 80
        if name not in ("run", "vm"):
            assert re.findall(r"^    (\S+)  +\w", told, re.MULTILINE) == [
                "0",
                "1",
                "2",
                "3",
                *(["4", "5"] if name in ("ab", "bisect") else []),
                "128+n",
            ]

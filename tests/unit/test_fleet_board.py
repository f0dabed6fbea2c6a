# SPDX-License-Identifier: GPL-2.0-only
"""The table of hosts that `fleet` shows on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from page_alloc_bench.fleet.board import Board, lines
from page_alloc_bench.fleet.journal import DETACHED, DRAINING, OVER, Journal

WATCHED = """
import sys, time
from pathlib import Path
import click
from page_alloc_bench.fleet import board
from page_alloc_bench.fleet.journal import DETACHED, Journal
journal = Journal(Path(sys.argv[1]))
journal.begin({})
with board.shown(board.Board(journal, ["one", "two"], {"one": "idle, order 0"})):
    journal.record("one", DETACHED)
    click.echo("one: the run has begun", err=True)
    time.sleep(1.5)
click.echo("the end")
"""
HOSTS = ["a" * 40, "b", "c", "d", "[e]", *(f"host{number}" for number in range(95))]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    journal = Journal(tmp_path)
    journal.begin({})
    journal.record(HOSTS[0], DRAINING)
    journal.record("b", DETACHED)
    journal.record("c", OVER, outcome="ok", reason="")
    journal.record("d", OVER, outcome="unreachable", reason="it is dark: " + "no answer " * 20)
    journal.record("[e]", OVER, outcome="refused", reason="low-memory, swap")
    return Board(journal, HOSTS, {"b": "antagonized, order 4"})


def drawn(board: Board, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True,
                      color_system=None)  # fmt: skip
    with console.capture() as captured:
        console.print(board)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_what_goes_on_is_on_top_and_all_hosts_are_counted(board: Board) -> None:
    told = drawn(board, 80, 24)
    assert told[0] == (
        "100 hosts: 1 draining, 1 ok, 1 refused, 1 running, 1 unreachable, 95 waiting"
    )
    assert [line.split()[1] for line in told[2:7]] == [
        "draining", "running", "refused", "unreachable", "ok",
    ]  # fmt: skip
    assert told[3].split()[0] == "b"
    assert told[3].endswith("antagonized, order 4")
    assert told[4].split()[0] == "[e]"
    assert told[4].endswith("low-memory, swap")


def test_reasons_are_broken_into_lines_for_a_terminal_and_not_for_a_program(board: Board) -> None:
    told = {host: board.journal.hosts[host] for host in ("c", "d")}
    whole = list(lines(told, None))
    assert whole[0] == "c  ok"
    assert whole[1] == f"d  unreachable  it is dark: {'no answer ' * 20}".rstrip()
    broken = list(lines(told, 80))
    assert broken[0] == "c  ok"
    assert max(map(len, broken[1].splitlines())) <= 80
    assert " ".join(broken[1].split()) == " ".join(whole[1].split())
    assert {line[:16].strip() for line in broken[1].splitlines()[1:]} == {""}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 10), (40, 24), (200, 50)])
def test_it_fits_the_terminal(board: Board, width: int, height: int) -> None:
    told = drawn(board, width, height)
    assert max(map(len, told)) <= width
    assert len(told) < height
    rows = len(told) - 3
    assert told[-1] == f"and {100 - rows} more"


def test_it_is_shown_under_the_messages_of_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCHED]
    piped = subprocess.run([*command, tmp_path / "a"], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("the end\n", "one: the run has begun\n")

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        [*command, tmp_path / "b"], stdout=subprocess.PIPE, stderr=theirs, text=True,
        env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        told = read_all(ours)
        assert process.stdout is not None
        assert process.stdout.read() == "the end\n"
    assert process.returncode == 0
    assert "one: the run has begun" in told
    assert "2 hosts: 1 running, 1 waiting" in told
    assert "idle, order 0" in told


def read_all(terminal: int) -> str:
    said = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # nobody has its other end any more
            return said.decode()
        if not part:
            return said.decode()
        said += part


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_number_and_no_state_is_cut_in_a_narrow_terminal(width: int, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({})
    hosts = [f"host-{number:03}.rack-a.example.org" for number in range(3)]
    journal.record(hosts[0], DETACHED)
    journal.record(hosts[1], DRAINING)
    journal.record(hosts[2], OVER, outcome="unreachable", reason="no answer")
    told = drawn(Board(journal, hosts, {hosts[0]: "idle, order 0"}), width, 24)
    assert max(map(len, told)) <= width
    for state in ("running", "draining", "unreachable"):
        (line,) = (line for line in told[2:] if f" {state} " in line)
        assert re.search(r" \d+:\d\d:\d\d( |$)", line)
    assert not re.search(r"\d…", told[0])


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_lines_of_a_status_fit_a_narrow_terminal(columns: int) -> None:
    reason = "no space left on device: /var/tmp is full, and so is /home"
    told = {
        f"host-{number:03}.rack-a.example.org": {"step": OVER, "outcome": "failed", "reason": text}
        for number, text in enumerate(("", reason))
    }
    shown = [part for line in lines(told, columns) for part in line.split("\n")]
    assert max(map(len, shown)) <= columns
    assert " ".join(" ".join(shown).split()).endswith(f"failed {reason}")
    assert "\n".join(lines(told, None)).count("\n") == 1

# SPDX-License-Identifier: GPL-2.0-only
"""The table of what was done on purpose: alike things in one row, no failure unseen."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import attempts
from attempts import Attempt


def test_phases_and_orders_are_told_in_short() -> None:
    everywhere = [
        Attempt("SIGINT", "ends", "6.1", phase, order, passed=True)
        for phase in ("idle", "steady_wait", "antagonized", "writing")
        for order in (0, 4)
    ]
    some = [
        Attempt("rmmod", "waits", "6.1", phase, 4, passed=True) for phase in ("idle", "writing")
    ]
    other = [Attempt("a full disk", "refused", "6.12", "before a run", passed=True)]
    text = attempts.in_markdown([*everywhere, *some, *other], datetime.date(2026, 1, 2), "QEMU 7")
    assert text.splitlines()[4:] == [
        "| SIGINT | every phase, orders 0 and 4 | 6.1 | ends |",
        "| rmmod | idle, writing, order 4 | 6.1 | waits |",
        "| a full disk | before a run | 6.12 | refused |",
    ]


def test_one_failure_is_the_rows() -> None:
    rows = [Attempt("SIGINT", "ends", "6.1", "idle", order, passed=order == 0) for order in (0, 4)]
    assert attempts.lines(rows) == ["FAILED  SIGINT; idle, orders 0 and 4; 6.1; ends"]


CONFTEST = """
from pathlib import Path
import attempts, readme

HERE = Path(__file__).parent

class Place(readme.Place):
    path = HERE / "README.md"

def pytest_configure(config):
    plugin = attempts.Plugin(config, HERE, Place("tried", "all"))
    config.pluginmanager.register(plugin)

def pytest_addoption(parser):
    parser.addoption("--update-readme", action="store_true")
"""
TESTS = """
import pytest

@pytest.mark.attempt("{user} asks", "told", "before a run")
@pytest.mark.parametrize("user", ["root", "bench"])
@pytest.mark.parametrize("host", ["one", "other"])
def test_it(user, host):
    if (user == "bench") == (host == "one"):
        pytest.skip("nobody of that name is there")
"""
EMPTY = "<!-- tried: written by all --update-readme -->\nnothing\n<!-- tried: end -->\n"


def test_what_is_skipped_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    """Who is on one host only is in the table for having been there."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    place = tmp_path / "README.md"
    place.write_text(EMPTY)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path]
    done = subprocess.run(
        [*command, "-W", "ignore", "--update-readme", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(attempts.__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 2 skipped" in done.stdout, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if " asks; " in line]
    assert told == [f"passed  {user} asks; before a run; 6.1; told" for user in ("root", "bench")]
    rows = [f"| {user} asks | before a run | 6.1 | told |" for user in ("root", "bench")]
    assert place.read_text().splitlines()[-3:-1] == rows

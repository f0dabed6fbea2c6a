# SPDX-License-Identifier: GPL-2.0-only
"""What is left out for want of time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import budget
from budget import Clock

TESTS = Path(budget.__file__).parent
CONFTEST = """
import budget
from budget import COST, Cost

def pytest_addoption(parser):
    budget.add_option(parser)

def pytest_configure(config):
    budget.register(config)

def pytest_collection_finish(session):
    for item in session.items:
        if "other" in item.name:
            item.stash[COST] = Cost("the other", lambda: 7000)
"""
SOME_TESTS = """
import time
import pytest

@pytest.mark.seconds(0.01)
def test_quick(): time.sleep(0.1)

@pytest.mark.seconds(2000)
def test_long(): pass

@pytest.mark.seconds(200)
def test_fits_at_that_pace(): pass

def test_other(): pass

def test_of_no_time(): pass
"""


def run(directory: Path, *options: str) -> str:
    """Return what pytest says of SOME_TESTS."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_some.py").write_text(SOME_TESTS)
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    argv = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *options]
    done = subprocess.run(argv, cwd=directory, env={**os.environ, "PYTHONPATH": str(TESTS)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_without_a_budget_nothing_is_left_out(tmp_path: Path) -> None:
    out = run(tmp_path)
    assert "5 passed" in out
    assert "left out" not in out


def test_what_would_not_be_done_is_left_out_and_named(tmp_path: Path) -> None:
    """The first test took ten times as long as it said: so will the others."""
    out = run(tmp_path, "--budget-s", "5000")
    assert "left out, for want of time: test_long, the other\n" in out
    assert "3 passed, 2 skipped" in out
    assert "s would not fit into the time that is left" in out


def test_when_the_time_is_over_everything_is_left_out(tmp_path: Path) -> None:
    out = run(tmp_path, "--budget-s", "-1")
    assert "5 skipped" in out
    assert "test_quick, test_long, test_fits_at_that_pace, the other, test_of_no_time\n" in out


def test_a_slow_machine_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    clock = Clock(300)
    assert clock.fits(300)
    assert not clock.fits(301)
    now[0] += 180
    assert clock.fits(120)
    assert not clock.fits(121)
    assert clock.by_pace(60) == 60
    clock.learn(60, 180)
    assert clock.by_pace(60) == 180
    clock.learn(600, 100)
    assert clock.by_pace(60) == 60
    assert Clock(None).fits(1e9)

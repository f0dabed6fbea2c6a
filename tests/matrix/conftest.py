# SPDX-License-Identifier: GPL-2.0-only
"""Say how long each row of the matrix takes, and what became of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import readme
from budget import COST, Cost
from matrix import table
from matrix.cost import row_seconds
from matrix.table import Row
from page_alloc_bench.targets import kernels

_ROWS = pytest.StashKey[dict[str, Row]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a table."""
    config.stash[_ROWS] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say what each test takes, and have a row for each kernel."""
    here = Path(__file__).parent
    for item in session.items:
        if here not in item.path.parents:
            continue
        kernel = _kernel(item)
        name = kernel.name if kernel else item.name
        if not item.get_closest_marker("seconds"):
            item.stash[COST] = Cost(name, functools.partial(row_seconds, kernel))
        if kernel:
            row = Row(kernel.name, kernel.arch, kernel.root or "busybox", kernel.notes)
            session.config.stash[_ROWS][kernel.name] = row


def _kernel(item: pytest.Item) -> kernels.Kernel | None:
    """Return the kernel that ITEM tests, None if it is another test."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("kernel")


@pytest.fixture
def row(kernel: kernels.Kernel, request: pytest.FixtureRequest) -> Iterator[Row]:
    """The row of the table for ``kernel``, to be completed."""
    found = request.config.stash[_ROWS][kernel.name]
    started = time.monotonic()
    yield found
    found.seconds = time.monotonic() - started


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each row ended."""
    report: pytest.TestReport = yield
    kernel = _kernel(item)
    if kernel and (report.when == "call" or not report.passed):
        outcome = "left out" if report.skipped else report.outcome
        item.config.stash[_ROWS][kernel.name].outcome = outcome
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table and, if asked to, write it into README.md beside this file."""
    config = terminalreporter.config
    rows = [row for row in config.stash[_ROWS].values() if row.outcome != "-"]
    if rows:
        terminalreporter.section("support matrix")
        terminalreporter.write_line(table.in_columns(rows))
    if config.getoption("--update-readme"):
        terminalreporter.write_line(_update_readme(rows))


def _update_readme(rows: list[Row]) -> str:
    """Write the table into README.md and return what came of it."""
    missing = {kernel.name for kernel in kernels.KERNELS} - {
        row.kernel for row in rows if row.outcome == "passed"
    }
    if missing:
        names = ", ".join(sorted(missing))
        return f"{readme.MATRIX.path} is left as it is, since not all passed: {names}"
    readme.MATRIX.write(table.in_markdown(rows, readme.today(), readme.emulator()))
    return f"{readme.MATRIX.path} has the table now"

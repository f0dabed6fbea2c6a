# SPDX-License-Identifier: GPL-2.0-only
"""Fit the rows of the matrix into a time, and tell what became of each."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import readme
from matrix import table
from matrix.cost import Clock
from matrix.table import Row
from page_alloc_bench.targets import kernels

_ROWS = pytest.StashKey[dict[str, Row]]()
_LEFT_OUT = pytest.StashKey[list[str]]()
_CLOCK = pytest.StashKey[Clock]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of scripts/test --matrix."""
    group = parser.getgroup("matrix")
    group.addoption(
        "--budget-s",
        type=float,
        metavar="SECONDS",
        help="leave out the kernels that would not be done by then, and name them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the clock."""
    config.stash[_ROWS] = {}
    config.stash[_LEFT_OUT] = []
    config.stash[_CLOCK] = Clock(config.getoption("--budget-s"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what does not fit any more, before anything is prepared for it."""
    clock = item.config.stash[_CLOCK]
    kernel = _kernel(item)
    row = Row(item.name, "-", "-", "")
    if kernel:
        row = Row(kernel.name, kernel.arch, kernel.root or "busybox", kernel.notes)
        item.config.stash[_ROWS][kernel.name] = row
    expected = clock.expected(kernel)
    if not clock.fits(expected):
        row.outcome = "left out"
        item.config.stash[_LEFT_OUT].append(row.kernel)
        pytest.skip(f"left out: {expected:.0f} s would not fit into the time that is left")


def _kernel(item: pytest.Item) -> kernels.Kernel | None:
    """Return the kernel that ITEM tests, None if it is another test."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("kernel")


@pytest.fixture
def row(kernel: kernels.Kernel, request: pytest.FixtureRequest) -> Iterator[Row]:
    """The row of the table for ``kernel``, to be completed."""
    found = request.config.stash[_ROWS][kernel.name]
    clock = request.config.stash[_CLOCK]
    expected = clock.expected(kernel)
    started = time.monotonic()
    yield found
    found.seconds = time.monotonic() - started
    clock.learn(expected, found.seconds)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each row ended."""
    report: pytest.TestReport = yield
    kernel = _kernel(item)
    if kernel and (report.when == "call" or report.failed):
        item.config.stash[_ROWS][kernel.name].outcome = report.outcome
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, name what was left out, and update README.md."""
    config = terminalreporter.config
    rows = list(config.stash[_ROWS].values())
    if rows:
        terminalreporter.section("support matrix")
        terminalreporter.write_line(table.in_columns(rows))
    left_out = config.stash[_LEFT_OUT]
    if left_out:
        terminalreporter.write_line(f"left out, for want of time: {', '.join(left_out)}")
    if config.getoption("--update-readme"):
        terminalreporter.write_line(_update_readme(rows))


def _update_readme(rows: list[Row]) -> str:
    """Write the table into README.md and return what came of it."""
    missing = {kernel.name for kernel in kernels.KERNELS} - {
        row.kernel for row in rows if row.outcome == "passed"
    }
    if missing:
        return f"README.md is left as it is, since not all passed: {', '.join(sorted(missing))}"
    readme.MATRIX.write(table.in_markdown(rows, readme.today(), readme.emulator()))
    return "README.md has the table now"

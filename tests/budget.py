# SPDX-License-Identifier: GPL-2.0-only
"""Fit long tests into a time: leave out those that would not be done by then, and name them.

A test says what it takes by the mark ``seconds``, as measured on a 2-core machine with nothing else
to do, or the conftest.py of its directory puts a Cost into its stash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Cost:
    """What a test takes: the name it is left out by, and its seconds as far as can be told."""

    name: str
    seconds: Callable[[], float]


COST = pytest.StashKey[Cost]()
_MARK = "seconds(number): what this test takes, for --budget-s"


class Clock:
    """The time that is left of a budget in seconds, None for as long as it takes."""

    def __init__(self, budget: float | None):
        self._end = None if budget is None else time.monotonic() + budget
        self._expected = self._measured = 0.0

    def by_pace(self, seconds: float) -> float:
        """Return what will take as long here as SECONDS on the machine that costs are told of.

        A machine that was slower than that so far will not become faster.
        """
        pace = self._measured / self._expected if self._expected else 1.0
        return seconds * max(1.0, pace)

    def learn(self, seconds: float, measured: float) -> None:
        """Take into account that what should take SECONDS took MEASURED seconds."""
        self._expected += seconds
        self._measured += measured

    def fits(self, expected: float) -> bool:
        """Return whether what takes EXPECTED seconds would be done in time."""
        return self._end is None or time.monotonic() + expected <= self._end


class Budget:
    """The plugin of pytest that does it; without --budget-s it leaves out nothing."""

    def __init__(self, seconds: float | None):
        self._clock = Clock(seconds)
        self._left_out: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leave out what does not fit any more, before anything is prepared for it."""
        cost = cost_of(item)
        expected = self._clock.by_pace(cost.seconds())
        if not self._clock.fits(expected):
            self._left_out.append(cost.name)
            pytest.skip(f"left out: {expected:.0f} s would not fit into the time that is left")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Learn this machine's pace from what the test took with all that was prepared for it."""
        seconds = cost_of(item).seconds()
        left_out = len(self._left_out)
        started = time.monotonic()
        result: None = yield
        if seconds and len(self._left_out) == left_out:
            self._clock.learn(seconds, time.monotonic() - started)
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was left out."""
        if self._left_out:
            text = f"left out, for want of time: {', '.join(self._left_out)}"
            terminalreporter.write_line(text)


def cost_of(item: pytest.Item) -> Cost:
    """Return what ITEM takes; who says nothing takes no time and is left out when it is over."""
    mark = item.get_closest_marker("seconds")
    seconds = float(mark.args[0]) if mark else 0.0
    return item.stash.get(COST, Cost(item.name, lambda: seconds))


def add_option(parser: pytest.Parser) -> None:
    """Add --budget-s, which scripts/test and scripts/sanitize pass on."""
    parser.addoption(
        "--budget-s",
        type=float,
        metavar="SECONDS",
        help="leave out the tests that would not be done by then, and name them",
    )


def register(config: pytest.Config) -> None:
    """Start the clock."""
    config.addinivalue_line("markers", _MARK)
    config.pluginmanager.register(Budget(config.getoption("--budget-s")))

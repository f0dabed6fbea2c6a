# SPDX-License-Identifier: GPL-2.0-only
"""What was done to runs and to the module on purpose, and what came of it: a table.

A test says so by the mark ``attempt(what, outcome)``, in whose words {name} stands for the test's
parameter of that name. Where it was done: ``when`` in words; or ``moments``, a list of (phase,
order), of which there is but one if the test has a parameter ``moment``.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import readme

_HEAD = ("what was done", "when", "kernel", "what came of it")
_PHASES = ("idle", "steady_wait", "antagonized", "writing")


@dataclass
class Attempt:
    """One thing that was done. phase, order: to a run, in this phase of this order.

    passed: what came of it is what it had to be.
    """

    what: str
    outcome: str
    kernel: str
    phase: str = ""
    order: int | None = None
    passed: bool = False


MARK = "attempt(what, outcome, when=, moments=, kernel=): what this test does on purpose"
_ATTEMPTS = pytest.StashKey[list[Attempt]]()
_SKIPPED = "skipped"  # instead of the day


class Plugin:
    """Collects the attempts of a session, prints their table, and writes it beside them.

    All of them take most of an hour, so they may be run in parts, also side by side: the day on
    which each passed, if it did when it was last run, is kept in pytest's cache.
    """

    def __init__(self, config: pytest.Config, directory: Path, place: readme.Place) -> None:
        self._config = config
        self._directory = directory
        self._place = place
        self._items: list[pytest.Item] = []
        self._attempts: list[Attempt] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note all that there is to do, before any is deselected."""
        self._items = [item for item in items if self._directory in item.path.parents]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note what is about to be done."""
        item.stash[_ATTEMPTS] = _of(item)
        self._attempts += item.stash[_ATTEMPTS]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Note which tests passed, and forget what is not for this host or user."""
        report: pytest.TestReport = yield
        made = item.stash.get(_ATTEMPTS, [])
        if report.skipped:
            gone = set(map(id, made))
            self._attempts = [each for each in self._attempts if id(each) not in gone]
        if report.when == "call" or report.failed:
            day = readme.today().isoformat() if report.passed else ""
            self._cache.set(self._key(item), _SKIPPED if report.skipped else day)
            for attempt in made:
                attempt.passed = report.passed
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table and, if asked to, write it into its README.md."""
        if self._attempts:
            terminalreporter.section(self._place.name)
            terminalreporter.write_line("\n".join(lines(self._attempts)))
        if self._config.getoption("--update-readme"):
            terminalreporter.write_line(self._update())

    def _update(self) -> str:
        """Write what has passed; what has not been run is named, and a failure keeps all back."""
        whole = self._config.invocation_params.dir / self._config.args[0] == self._directory
        days = {item: self._cache.get(self._key(item), default=None) for item in self._items}
        failed = [item.nodeid for item, day in days.items() if day == ""]
        passed = {item: day for item, day in days.items() if day and day != _SKIPPED}
        if failed or not whole or not passed:
            what = failed or "not the whole directory ran"
            return f"{self._place.path} is left as it is; failed: {what}"
        done = [replace(each, passed=True) for item in passed for each in _of(item)]
        oldest = datetime.date.fromisoformat(min(passed.values()))
        table = in_markdown(done, oldest, readme.emulator())
        left_out = sorted({item.path.name for item, day in days.items() if not day})
        if left_out:
            table += f"\n\nNot run to the end then: {', '.join(left_out)}."
        self._place.write(table)
        return f"{self._place.path} has the table now"

    @property
    def _cache(self) -> pytest.Cache:
        assert self._config.cache
        return self._config.cache

    def _key(self, item: pytest.Item) -> str:
        name = hashlib.sha256(item.nodeid.encode()).hexdigest()[:16]
        return f"{self._place.name}/{name}"


def _of(item: pytest.Item) -> list[Attempt]:
    """Return what a test says that it does."""
    marks = list(item.iter_markers("attempt"))[::-1]
    return [made for mark in marks for made in _of_mark(item, *mark.args, **mark.kwargs)]


def _of_mark(
    item: pytest.Item,
    what: str,
    outcome: str,
    when: str = "",
    *,
    moments: Iterable[tuple[str, int]] = (),
    kernel: str = "6.1",
) -> list[Attempt]:
    """Return what a mark says that a test does."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    words = [text.format(**parameters) for text in (what, outcome, kernel)]
    when = when.format(**parameters)
    if "moment" in parameters:
        moments = [parameters["moment"]]
    return [Attempt(*words, *moment) for moment in moments] or [Attempt(*words, when)]


def lines(attempts: Sequence[Attempt]) -> list[str]:
    """Return a line for each row: whether all of it passed, and its cells."""
    return [f"{_verdict(group)}  {'; '.join(_cells(group))}" for group in _groups(attempts)]


def _verdict(group: Iterable[Attempt]) -> str:
    return "passed" if all(each.passed for each in group) else "FAILED"


def in_markdown(attempts: Sequence[Attempt], made_on: datetime.date, emulator: str) -> str:
    """Return the table as its README.md has it, with what it was made by."""
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_cells, _groups(attempts))]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{readme.heading(made_on, emulator)}\n\n{table}"


def _groups(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    """Return together what was done alike on one kernel, in the order of the first of each."""
    groups: dict[tuple[str, str, str], list[Attempt]] = {}
    for each in attempts:
        groups.setdefault((each.what, each.outcome, each.kernel), []).append(each)
    return list(groups.values())


def _cells(group: Sequence[Attempt]) -> tuple[str, ...]:
    return group[0].what, _when(group), group[0].kernel, group[0].outcome


def _when(group: Sequence[Attempt]) -> str:
    """Return the phases of a group, and the orders if they are the same in each phase."""
    by_phase: dict[str, set[int]] = {}
    for each in group:
        if each.order is not None:
            by_phase.setdefault(each.phase, set()).add(each.order)
    if not by_phase:
        return group[0].phase
    parts: dict[tuple[int, ...], list[str]] = {}
    for phase in sorted(by_phase, key=_PHASES.index):
        parts.setdefault(tuple(sorted(by_phase[phase])), []).append(phase.replace("_", " "))
    return "; ".join(
        f"{'every phase' if len(phases) == len(_PHASES) else ', '.join(phases)},"
        f" order{'s' * (len(orders) > 1)} {' and '.join(map(str, orders))}"
        for orders, phases in parts.items()
    )

# SPDX-License-Identifier: GPL-2.0-only
"""The run as KTAP version 1 on stdout, for kernel CI: what passed, failed and was skipped.

Documentation/dev-tools/ktap.rst in the kernel tree is the specification. Lines are written as the
run goes on: when the host hangs or dies, the last of them says where.

Top-level tests are "loaded", an "order_N" for each order, "unloaded", "written" (the JSON) and
"complete". The idle phases of all orders come first: what a later order got is told at once, and
its result among those of its order. A test that was not reached is skipped; the one that the run
ended in fails, with the reason as an ERROR or TIMEOUT directive. A run that is refused (exit codes
2 and 3) bails out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from page_alloc_bench.runner.errors import (
    EXIT_HOST_UNFIT,
    EXIT_USAGE,
    RunnerError,
    TimedOut,
    describe,
)
from page_alloc_bench.runner.result.document import Document, key

VERSION_LINE = "KTAP version 1"

# Subtests of an order, and the phase of the run whose end decides each.
_SUBTESTS = {
    "configured": "configure",
    "idle": "idle",
    "steady": "steady_wait",
    "antagonized": "antagonized",
    "stopped": "stop",
    "latencies": "results",
    "reconciled": "results",
}

# Metrics whose values are told before the result of a subtest, all of them in one line.
_VALUES = {
    "idle": ("idle_available_bytes",),
    "antagonized": ("antagonized_available_bytes", "antagonist_held_bytes"),
    "reconciled": (
        "kernel_page_allocs",
        "kernel_page_frees",
        "kernel_page_allocs_remote",
        "kernel_alloc_failures",
        "kernel_page_allocs_per_second",
    ),
}
_LATENCIES = (
    "kernel_page_alloc_latencies_ns",
    "kernel_page_free_latencies_ns",
    "kernel_alloc_failure_latencies_ns",
)


class _Level:
    """The results of one level of nesting; count: how many are planned."""

    def __init__(self, write: Callable[[str], object], indent: str, count: int) -> None:
        self._write = write
        self._indent = indent
        self._number = 0
        self.passed = True
        self._line(VERSION_LINE)
        self._line(f"1..{count}")

    def diagnostic(self, text: str) -> None:
        """Write what helps to understand the result that follows."""
        self._line(f"# {_one_line(text)}")

    def ok(self, name: str) -> None:
        """Report a test that passed."""
        self._result("ok", name, "")

    def not_ok(self, name: str, directive: str = "") -> None:
        """Report a test that failed; directive: such as "ERROR reason"."""
        self.passed = False
        self._result("not ok", name, directive)

    def report(self, name: str, passed: bool | None, skipped: str = "") -> None:
        """Report a test; passed: None if it was not run, and skipped says why."""
        if passed is None:
            self.skip(name, skipped)
        elif passed:
            self.ok(name)
        else:
            self.not_ok(name)

    def skip(self, name: str, reason: str) -> None:
        """Report a test that was not run."""
        self._result("ok", name, f"SKIP {reason}")

    def _result(self, result: str, name: str, directive: str) -> None:
        self._number += 1
        tail = f" # {_one_line(directive)}" if directive else ""
        self._line(f"{result} {self._number} {name}{tail}")

    def _line(self, text: str) -> None:
        self._write(f"{self._indent}{text}\n")


class Ktap:
    """One run, told as it goes on.

    failure: why lines could not be written, once one could not; the run may go on without them.
    """

    def __init__(self, write: Callable[[str], object], orders: Sequence[int]) -> None:
        """write: takes whole lines; raises RunnerError, or a Stop that the caller is to see."""
        self.failure: RunnerError | None = None
        self._take = write
        self._orders = list(orders)  # those of which nothing has been told yet
        self._top = _Level(self._write, "", len(self._orders) + 4)
        self._document = Document({})
        self._loaded = False
        self._warnings_told = 0
        self._order: int | None = None
        self._level: _Level | None = None  # of the order that is being measured
        self._pending: list[str] = []  # its subtests to come
        self._early: dict[tuple[int, str], BaseException | None] = {}  # measured before their order

    def bail_out(self, reason: str) -> None:
        """Say that the run was refused; nothing may follow."""
        self._write(f"Bail out! {_one_line(reason)}\n")

    def loaded(self, document: Document) -> None:
        """Report that the module is loaded; document: where all that is measured will stand."""
        self._document = document
        kernel = document.run["kernel"]
        self._top.diagnostic(f"kernel {kernel['release']} {kernel['machine']}")
        self._tell_warnings(self._top)
        self._top.ok("loaded")
        self._loaded = True

    def phase_ended(self, record: dict[str, Any], error: BaseException | None) -> None:
        """Report the subtests that a phase of the run decides; error: what cut it short, if any."""
        level, order, phase = self._level, record["order"], record["name"]
        if level is not None and order != self._order:
            self._early[order, phase] = error
            for name in [name for name, of in _SUBTESTS.items() if of == phase]:
                self._tell_warnings(level)
                self._tell_values(level, name, order)
            return
        if level is None:
            level = self._begin_order(order)
        for name in [name for name in self._pending if _SUBTESTS[name] == phase]:
            self._skip_until(level, name)
            self._decide(level, name, error)
        self._decide_early(level)
        if phase == "results":
            self._end_order(level)

    def end(
        self, ending: BaseException | None, *, unloaded: bool | None, written: bool | None
    ) -> None:
        """Report the rest. ending: what ended the run early, if anything did.

        unloaded: None if there was nothing to unload. written: None if no JSON was asked for.
        """
        if getattr(ending, "exit_code", 0) in (EXIT_USAGE, EXIT_HOST_UNFIT):
            assert ending is not None
            self.bail_out(describe(ending))
            return
        top = self._top
        if self._level is not None:
            self._end_order(self._level)
        if not self._loaded:
            top.not_ok("loaded", _directive(ending))
        for order in list(self._orders):
            if any(early == order for early, _ in self._early):
                self._end_order(self._begin_order(order))
            else:
                top.skip(_name(order), "not reached")
        self._tell_warnings(top)
        top.report("unloaded", unloaded, skipped="nothing was loaded")
        top.report("written", written, skipped="no --output-path")
        if ending is None:
            top.ok("complete")
        else:
            top.not_ok("complete", _directive(ending))

    def _write(self, text: str) -> None:
        if self.failure is None:
            try:
                self._take(text)
            except RunnerError as error:
                self.failure = error

    def _begin_order(self, order: int) -> _Level:
        self._order = order
        self._orders.remove(order)
        self._pending = list(_SUBTESTS)
        self._level = _Level(self._write, "  ", len(_SUBTESTS))
        return self._level

    def _end_order(self, level: _Level) -> None:
        assert self._order is not None
        self._skip_until(level, None)
        self._top.report(_name(self._order), level.passed)
        self._level = None

    def _skip_until(self, level: _Level, name: str | None) -> None:
        """Report what was not reached; name: the subtest before which to stop, if any."""
        while self._pending and self._pending[0] != name:
            if not self._decide_early(level):
                level.skip(self._pending.pop(0), "not reached")

    def _decide_early(self, level: _Level) -> bool:
        """Report the next subtest if it was measured before its order; return whether it was."""
        assert self._order is not None
        if not self._pending:
            return False
        name = self._pending[0]
        phase = self._order, _SUBTESTS[name]
        if phase not in self._early:
            return False
        self._decide(level, name, self._early[phase])
        return True

    def _decide(self, level: _Level, name: str, error: BaseException | None) -> None:
        """Report one subtest, and before it what was measured."""
        self._pending.remove(name)
        self._tell_warnings(level)
        assert self._order is not None
        self._tell_values(level, name, self._order)
        timed = name != "latencies" or self._tell_latencies(level)
        if error is not None:
            level.not_ok(name, _directive(error))
        elif not timed:
            level.skip(name, "no operation was timed")
        elif name == "reconciled" and (lost := self._lost()):
            level.not_ok(name, f"{lost} blocks were allocated and not freed")
        else:
            level.ok(name)

    def _tell_values(self, level: _Level, name: str, order: int) -> None:
        """Tell every value that a subtest of an order is about."""
        for metric in _VALUES.get(name, ()):
            values = self._document.get(metric, order)
            if values:
                level.diagnostic(f"{key(metric, order)}: {' '.join(map(str, values))}")

    def _tell_latencies(self, level: _Level) -> bool:
        """Tell the statistics of each class of latencies; return whether there were any."""
        from page_alloc_bench.runner.result import clock_step, summary

        assert self._order is not None
        told = False
        for name in _LATENCIES:
            stats = summary.of_metric(self._document, name, self._order)
            if stats is not None:
                told = True
                hidden = clock_step.of(self._document.get, self._document.run, name, self._order)
                figures = {
                    "min": stats.least,
                    "median": stats.median,
                    "p99": stats.p99,
                    "p99.9": stats.p999,
                    "max": stats.largest,
                }
                texts = [
                    f"{figure} {value:.12g}" if hidden is None else f"{figure} {hidden.text(value)}"
                    for figure, value in figures.items()
                    if summary.holds(figure, stats.samples)
                ]
                level.diagnostic(
                    f"{key(name, self._order)}: {stats.samples} samples, {', '.join(texts)}"
                )
        return told

    def _tell_warnings(self, level: _Level) -> None:
        """Tell the warnings that have come since this was called last."""
        warnings = self._document.run["warnings"]
        for text in warnings[self._warnings_told :]:
            level.diagnostic(f"warning: {text}")
        self._warnings_told = len(warnings)

    def _lost(self) -> int:
        """Return how many blocks of the order were allocated and not freed, over all CPUs."""
        assert self._order is not None
        allocs, frees = (
            self._document.get(f"kernel_page_{what}_per_cpu", self._order)
            for what in ("allocs", "frees")
        )
        return sum(abs(a - f) for a, f in zip(allocs, frees))


def _name(order: int) -> str:
    return f"order_{order}"


def _directive(error: BaseException | None) -> str:
    """Return why a test failed as the specification has it: a keyword, then the reason."""
    if error is None:
        return ""
    return f"{'TIMEOUT' if isinstance(error, TimedOut) else 'ERROR'} {describe(error)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())

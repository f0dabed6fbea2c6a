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
from page_alloc_bench.runner.result import figures, metrics
from page_alloc_bench.runner.result.case import Case, key, split_key
from page_alloc_bench.runner.result.document import Document
from page_alloc_bench.runner.result.metrics import Kind, Metric, Subtest

VERSION_LINE = "KTAP version 1"
_FIGURES = ("min", "median", "p99", "p99.9", "max")  # that are told of latencies


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

    def __init__(
        self,
        write: Callable[[str], object],
        orders: Sequence[int],
        planned: Sequence[tuple[str, int]],
    ) -> None:
        """Begin to tell a run.

        write: takes whole lines; raises RunnerError, or a Stop that the caller is to see. planned:
        the phases of the run, each with its order, in the order of time.
        """
        self.failure: RunnerError | None = None
        self._take = write
        self._orders = list(orders)  # those of which nothing has been told yet
        self._top = _Level(self._write, "", len(self._orders) + 4)
        self._document = Document({})
        self._loaded = False
        self._warnings_told = 0
        self._order: int | None = None
        self._level: _Level | None = None  # of the order that is being measured
        # The subtests of an order, and the phase of the run whose end decides each.
        known = {phase.name: phase.subtests for phase in metrics.phases()}
        names = dict.fromkeys(name for name, _ in planned)  # in the order of time
        self._subtests = {of: name for name in names for of in known.get(name, ())}
        self._last_phases = {order: name for name, order in planned}  # of each order
        self._pending: list[Subtest] = []  # of the order that is being measured
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
            for subtest in self._decided_by(phase):
                self._tell_warnings(level)
                for case in self._cases(subtest, order):
                    self._tell(level, subtest, case)
            return
        if level is None:
            level = self._begin_order(order)
        for subtest in [one for one in self._decided_by(phase) if one in self._pending]:
            self._skip_until(level, subtest)
            self._decide(level, subtest, error)
        self._decide_early(level)
        if phase == self._last_phases[order]:
            self._end_order(level)

    def _decided_by(self, phase: str) -> list[Subtest]:
        return [subtest for subtest, of in self._subtests.items() if of == phase]

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
        self._pending = list(self._subtests)
        self._level = _Level(self._write, "  ", len(self._subtests))
        return self._level

    def _end_order(self, level: _Level) -> None:
        assert self._order is not None
        self._skip_until(level, None)
        self._top.report(_name(self._order), level.passed)
        self._level = None

    def _skip_until(self, level: _Level, subtest: Subtest | None) -> None:
        """Report what was not reached; subtest: the one before which to stop, if any."""
        while self._pending and self._pending[0] != subtest:
            if not self._decide_early(level):
                level.skip(self._pending.pop(0).name, "not reached")

    def _decide_early(self, level: _Level) -> bool:
        """Report the next subtest if it was measured before its order; return whether it was."""
        assert self._order is not None
        if not self._pending:
            return False
        subtest = self._pending[0]
        phase = self._order, self._subtests[subtest]
        if phase not in self._early:
            return False
        self._decide(level, subtest, self._early[phase])
        return True

    def _decide(self, level: _Level, subtest: Subtest, error: BaseException | None) -> None:
        """Report one subtest, and before it what was measured."""
        self._pending.remove(subtest)
        self._tell_warnings(level)
        assert self._order is not None
        cases = self._cases(subtest, self._order)
        told = [self._tell(level, subtest, case) for case in cases]
        if error is not None:
            level.not_ok(subtest.name, _directive(error))
        elif not any(told):
            level.skip(subtest.name, subtest.absent or "no operation was timed")
        elif lost := sum(self._lost(subtest, case) for case in cases):
            level.not_ok(subtest.name, subtest.loss.format(lost=lost))
        else:
            level.ok(subtest.name)

    def _cases(self, subtest: Subtest, order: int) -> list[Case]:
        """Return the cases of an order that a subtest is about, its default one if none else."""
        about = {m.name for m in metrics.every().values() if m.subtest == subtest.name}
        names = map(split_key, self._document.metrics)
        found = {case for name, case in names if name in about and case.order == order}
        return sorted(found) or [Case(order)]

    def _tell(self, level: _Level, subtest: Subtest, case: Case) -> bool:
        """Tell what was measured that a subtest of a case is about.

        Return whether that is something, where it is about nothing but timed operations, or where
        it may be absent.
        """
        about = [m for m in metrics.every().values() if m.subtest == subtest.name]
        told = [self._tell_metric(level, metric, case) for metric in about]
        latencies = bool(about) and all(metric.kind is Kind.SAMPLE for metric in about)
        return not (latencies or subtest.absent) or any(told)

    def _tell_metric(self, level: _Level, metric: Metric, order: Case) -> bool:
        """Tell every value of a metric, or its figures if it is of latencies; return if any."""
        name = key(metric.name, order)
        if metric.kind is not Kind.SAMPLE:
            values = self._document.get(metric.name, order)
            if values:
                level.diagnostic(f"{name}: {' '.join(map(str, values))}")
            return bool(values)
        known = figures.of(self._document.get, self._document.run, metric.name, order)
        texts = [f"{figure} {value.text}" for figure, value in known.all(_FIGURES).items()]
        if texts:
            level.diagnostic(f"{name}: {known.size} samples, {', '.join(texts)}")
        return bool(texts)

    def _tell_warnings(self, level: _Level) -> None:
        """Tell the warnings that have come since this was called last."""
        warnings = self._document.run["warnings"]
        for text in warnings[self._warnings_told :]:
            level.diagnostic(f"warning: {text}")
        self._warnings_told = len(warnings)

    def _lost(self, subtest: Subtest, order: Case) -> int:
        """Return by how much two sums differ that a subtest wants to be equal."""
        if not subtest.balance:
            return 0
        one, other = (self._document.get(name, order) for name in subtest.balance)
        return abs(sum(one) - sum(other)) if one and other else 0


def _name(order: int) -> str:
    return f"order_{order}"


def _directive(error: BaseException | None) -> str:
    """Return why a test failed as the specification has it: a keyword, then the reason."""
    if error is None:
        return ""
    return f"{'TIMEOUT' if isinstance(error, TimedOut) else 'ERROR'} {describe(error)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())

# SPDX-License-Identifier: GPL-2.0-only
"""A step of a bisection by counted instructions: two boots of the kernel in question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from page_alloc_bench.analysis.instructions import path_length
from page_alloc_bench.analysis.instructions.path_length import Case, Side
from page_alloc_bench.campaign import exact
from page_alloc_bench.campaign.bisection import BAD, GOOD, SKIP, Outcome
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.targets.process import UsageError

_METRIC = re.compile(r"exact_(\w+)_instructions_per_1000_operations_order(\d+)")


class FailedError(Exception):
    """A kernel does not boot, or does not survive. name: of its side; the message says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


@dataclass
class Meter:
    """Measures kernels, each twice, and keeps what comes of it in JOURNAL.

    ``side``: makes what exact.run() asks for of a name and a kernel. ``at_once``: guests.
    """

    journal: Journal
    side: Callable[[str, Built], exact.Boots]
    at_once: int
    note: Callable[[str], object]

    def measure(self, *kernels: Built) -> list[Side]:
        """Return the boots of KERNELS. Raises FailedError."""
        sides = [self.side(kernel.commit.short, kernel) for kernel in kernels]
        measured, failures = exact.run(self.journal, sides, at_once=self.at_once, note=self.note)
        for failure in failures:
            raise FailedError(failure.side, failure.reason)
        return measured


@dataclass
class ExactStep:
    """Says of a kernel whether one CASE is more than LIMIT longer than in GOOD, a part of it."""

    meter: Meter
    case: Case
    limit: float

    def __call__(self, good: Built, new: Built) -> Outcome:
        """Boot NEW and return the verdict; GOOD is booted if it has not been."""
        try:
            before, after = self.meter.measure(good, new)
        except FailedError as error:
            return Outcome(SKIP, str(error).splitlines()[0])
        found = [each for each in path_length.compare(before, after) if each.case == self.case]
        if not found:
            return Outcome(SKIP, f"it has no figure for {self.case}")
        (each,) = found
        why = (
            f"{each.new.instructions:.2f} instructions for {self.case}, {each.part:+.2%} against "
            f"{good.commit.name}"
        )
        verdict = path_length.verdict(found, self.limit)
        return Outcome({"regression": BAD, "no regression": GOOD}.get(verdict, SKIP), why)


def case(metric: str) -> Case:
    """Return the case that a METRIC of a result is of. Raises UsageError."""
    found = _METRIC.fullmatch(metric)
    if not found:
        raise UsageError(
            f"--metric {metric}: what can be followed is exact_PATTERN_instructions_per_1000_"
            "operations_orderN, such as exact_pairs_instructions_per_1000_operations_order0"
        )
    return Case(found[1], int(found[2]))


def require_measured(wanted: Case, side: Side) -> None:
    """Raise UsageError unless a side has the case."""
    if wanted not in side.cases():
        cases = ", ".join(map(str, side.cases()))
        raise UsageError(f"--metric is of {wanted}, which was not measured; there is {cases}")

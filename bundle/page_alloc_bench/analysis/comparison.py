# SPDX-License-Identifier: GPL-2.0-only
"""What compare() returns, and the names that its rows go by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Better, Kind, declared, workload_of

from .facts_difference import Difference
from .instructions.path_length import Difference as PathDifference
from .per_run import Statistic
from .verdict.power import MANY, Needed
from .verdict.sequential import Look
from .verdict.states import CANNOT_TELL, NO_REGRESSION, REGRESSION, State

__all__ = [
    "CANNOT_TELL",
    "NO_REGRESSION",
    "REFUSED",
    "REGRESSION",
    "Comparison",
    "Geomean",
    "Observation",
    "Row",
    "Side",
    "Stratum",
    "Verdict",
    "boots",
    "describe",
    "label",
    "short_label",
]

# A state of verdict/states.py; or nothing is said, for a reason that is not the figures'.
Verdict = State | Literal["too few boots", "not tested"]
Observation = Literal["boot", "host"]

REFUSED = 3


@dataclass(frozen=True)
class Side:
    """What one side has of a statistic. values: one a boot, in the order of the boots.

    tested: the values that the change, its interval and its p are of: those less what drifted over
    time on both sides (verdict/order.py), in the same unit and order.
    low, high: the exact interval of the median; None where too few boots have none. below: of one
    boot at least is known only that its figure is less than its value here, the step of its clock,
    so that the median is at most what it is here, and has no interval.
    """

    values: tuple[float, ...]
    tested: tuple[float, ...]
    median: float
    low: float | None
    high: float | None
    below: bool = False


@dataclass(frozen=True)
class Row:
    """A statistic on both sides.

    better: the direction that is good. kind: of figure, which threshold_percent is of.
    change_percent: by Hodges and Lehmann, None if it is not known; change_low, change_high: its
    interval, None where nothing bounds it. Of failures these are percent of the attempts, not of
    base's figure. p: of the U test; p_corrected: by Holm's method, over the rows that decide, or
    over the others. verdict: what the interval shows. decides: whether the comparison's verdict
    rests on it. needed: boots a side until the decision has a power of 80 %; None if it decides
    nothing, or the boots show no spread to tell it by.
    chosen: what the case has besides its order.
    """

    family: str
    metric: str
    statistic: str
    order: int
    chosen: tuple[tuple[str, str], ...]
    unit: str
    better: Better
    kind: str
    threshold_percent: float
    base: Side
    new: Side
    change_percent: float | None
    change_low: float | None
    change_high: float | None
    p: float | None
    p_corrected: float | None
    verdict: Verdict
    decides: bool
    needed: Needed | None

    @property
    def case(self) -> Case:
        """Return what it was measured under."""
        return Case(self.order, self.chosen)

    @property
    def workload(self) -> str:
        """Return the workload that measured it."""
        return workload_of(self.metric)

    @property
    def below(self) -> bool:
        """Return whether a side is not known well enough to have a median."""
        return self.base.below or self.new.below

    @property
    def regression(self) -> bool:
        """Return whether it is worse by the threshold or more."""
        return self.verdict == "worse"

    @property
    def harm(self) -> float:
        """Return by how much it is worse, 1 being what matters; below 0 where it is better."""
        change = self.change_percent or 0.0
        return (-change if self.better == "higher" else change) / self.threshold_percent

    @property
    def least_change(self) -> float:
        """Return by how much it changed at least, in percent; 0 if it may not have at all."""
        low = -100.0 if self.change_low is None else self.change_low
        high = math.inf if self.change_high is None else self.change_high
        return max(low, -high, 0.0)


@dataclass(frozen=True)
class Geomean:
    """The mean change of the tested rows of one family, in percent, with its interval."""

    family: str
    rows: int
    change_percent: float
    change_low: float | None
    change_high: float | None


@dataclass(frozen=True)
class Stratum:
    """The hosts of one kind of machine. rows: what decides, each with the interval of one test."""

    machine: str
    hosts: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """All that is said of two sides.

    base, new: the files. base_boots, new_boots: how many boots they are of; boots_guessed: no run
    of a side says which boot it is of. together: how the boots follow each other, as Order has it;
    None if a time is not known. thresholds: as parse() reads them. tests: how many rows decide, of
    all comparisons made together; their intervals hold together with the confidence. least_boots: a
    side, for one of them to have an interval at all. sentence: the verdict, for people. exit_code:
    NO_REGRESSION and so on. counted: the figures are instructions, without noise: their intervals
    are the differences between boots. paths: of each case what it differs by, by function. look:
    the last of several, where boots were added until it could be told; what is said then holds
    at all looks. observation: what a value is of. strata: by_host's kinds of machines, if several.
    forbidden: why there is no verdict whatever the figures are, and what to do; None if nothing is.
    """

    base: tuple[Path, ...]
    new: tuple[Path, ...]
    base_boots: int
    new_boots: int
    boots_guessed: bool
    together: float | None
    thresholds: str
    confidence: float
    differences: tuple[Difference, ...]
    rows: tuple[Row, ...]
    geomeans: tuple[Geomean, ...]
    warnings: tuple[str, ...]
    tests: int
    least_boots: int
    sentence: str
    exit_code: int
    counted: bool = False
    paths: tuple[PathDifference, ...] = ()
    look: Look | None = None
    observation: Observation = "boot"
    strata: tuple[Stratum, ...] = ()
    forbidden: str | None = None

    @property
    def groups(self) -> dict[str, list[Row]]:
        """Return the rows of each workload and case, by what a table of them is headed.

        The workload is named where several were measured.
        """
        several = len({row.workload for row in self.rows}) > 1
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            head = f"{row.workload}, {row.case}" if several else str(row.case)
            found.setdefault(head, []).append(row)
        return found

    @property
    def tested(self) -> list[Row]:
        """Return the rows that a verdict was asked of."""
        return [row for row in self.rows if row.verdict != "not tested"]

    @property
    def deciding(self) -> list[Row]:
        """Return the rows that the verdict rests on."""
        return [row for row in self.rows if row.decides]


def describe(row: Row | Statistic) -> str:
    """Return a short name of a statistic, such as "allocation p99, order 4"."""
    return f"{label(row)}, {row.case}"


def label(row: Row | Statistic) -> str:
    """Return the name of a statistic without its case."""
    metric = declared(row.metric)
    return f"{metric.label} {row.statistic}" if metric.kind is Kind.SAMPLE else metric.label


def short_label(row: Row | Statistic) -> str:
    """Return the name of a statistic, in twelve columns if it is a common one."""
    metric = declared(row.metric)
    label = metric.short or metric.label
    return f"{label} {row.statistic}" if metric.kind is Kind.SAMPLE else label


def boots(needed: Needed) -> str:
    """Return how many boots are needed as text, such as "14 (9..30)"."""
    low, middle, high = (_at_most(n) for n in (needed.low, needed.boots, needed.high))
    return middle if low == high else f"{middle} ({low}..{high})"


def _at_most(number: int) -> str:
    return f"{number:,}" if number < MANY else f">{MANY:,}"

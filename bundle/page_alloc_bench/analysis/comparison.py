# SPDX-License-Identifier: GPL-2.0-only
"""What compare() returns, and the names that its rows go by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Better, Kind, declared

from .facts_difference import Difference
from .per_run import Statistic

Verdict = Literal["better", "worse", "~", "too few runs", "not tested"]

NO_REGRESSION, REGRESSION, CANNOT_TELL, REFUSED = range(4)


@dataclass(frozen=True)
class Side:
    """What one side has of a statistic. values: one a run, in the order of the files.

    low, high: the exact interval of the median; None where too few runs have none. below: of one
    run at least is known only that its figure is less than its value here, the step of its clock,
    so that the median is at most what it is here, and has no interval.
    """

    values: tuple[float, ...]
    median: float
    low: float | None
    high: float | None
    below: bool = False


@dataclass(frozen=True)
class Row:
    """A statistic on both sides.

    better: the direction that is good. change_percent: of the medians, None if the base's is 0;
    change_low, change_high: its interval, None if there is none. p, p_corrected: of the U test,
    None if it was not made. beyond: the change is in the direction of the verdict and at least the
    threshold. runs_needed: about how many a side would find a change of the threshold; None if the
    runs show no variance to tell it by. chosen: what the case has besides its order.
    """

    family: str
    metric: str
    statistic: str
    order: int
    chosen: tuple[tuple[str, str], ...]
    unit: str
    better: Better
    base: Side
    new: Side
    change_percent: float | None
    change_low: float | None
    change_high: float | None
    p: float | None
    p_corrected: float | None
    verdict: Verdict
    beyond: bool
    runs_needed: int | None

    @property
    def case(self) -> Case:
        """Return what it was measured under."""
        return Case(self.order, self.chosen)

    @property
    def below(self) -> bool:
        """Return whether a side is not known well enough to be compared."""
        return self.base.below or self.new.below

    @property
    def regression(self) -> bool:
        """Return whether it is worse, significantly and by the threshold or more."""
        return self.verdict == "worse" and self.beyond


@dataclass(frozen=True)
class Geomean:
    """The mean change of the tested rows of one family, in percent, with its interval."""

    family: str
    rows: int
    change_percent: float
    change_low: float | None
    change_high: float | None


@dataclass(frozen=True)
class Comparison:
    """All that is said of two sides.

    tests: how many p-values were corrected together. least_runs: a side, for one of them to be
    significant at all. sentence: the verdict, for people. exit_code: NO_REGRESSION and so on.
    """

    base: tuple[Path, ...]
    new: tuple[Path, ...]
    threshold_percent: float
    confidence: float
    seed: int
    differences: tuple[Difference, ...]
    rows: tuple[Row, ...]
    geomeans: tuple[Geomean, ...]
    warnings: tuple[str, ...]
    tests: int
    least_runs: int
    sentence: str
    exit_code: int

    @property
    def tested(self) -> list[Row]:
        """Return the rows that a verdict was asked of."""
        return [row for row in self.rows if row.verdict != "not tested"]


def describe(row: Row | Statistic) -> str:
    """Return a short name of a statistic, such as "allocation p99, order 4"."""
    return f"{label(row)}, {row.case}"


_MANY = 1000  # runs


def label(row: Row | Statistic) -> str:
    """Return the name of a statistic without its case."""
    metric = declared(row.metric)
    return f"{metric.label} {row.statistic}" if metric.kind is Kind.SAMPLE else metric.label


def short_label(row: Row | Statistic) -> str:
    """Return the name of a statistic, in twelve columns if it is a common one."""
    metric = declared(row.metric)
    return f"{metric.brief} {row.statistic}" if metric.kind is Kind.SAMPLE else metric.brief


def at_most(runs: int) -> str:
    """Return a number of runs as text, as far as anybody would make so many."""
    return f"{runs:,}" if runs <= _MANY else f"over {_MANY:,}"

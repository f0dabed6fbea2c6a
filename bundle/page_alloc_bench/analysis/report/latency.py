# SPDX-License-Identifier: GPL-2.0-only
"""Distributions of latencies, from the histograms of all timed operations.

A sample of 50,000 has five operations beyond its p99.99; the histogram has all that were timed,
each known to the width of its bucket (3 to 6 %), and the maximum exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result import figures, quantile
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Timed

from . import spread

Floats = NDArray[np.float64]

STEP = 1.05  # a histogram shows the share of operations within a step of 5 % of latency
_VIEW = (0.001, 0.99)  # of the operations, those that the histogram shows


@dataclass(frozen=True)
class Distribution:
    """One run's timed operations: counts of buckets, their edges (ns), and the largest (ns).

    known: what tells the quantiles. hidden: how many of them were shorter than the step of the
    clock, step_ns: those are not drawn.
    """

    counts: Floats
    edges: Floats
    largest: float
    known: quantile.Distribution
    hidden: int = 0
    step_ns: float = 0.0

    @property
    def coarse(self) -> bool:
        """Return whether the median is hidden."""
        return self.hidden > 0 and 2 * self.hidden >= self.total

    @property
    def total(self) -> int:
        """Return how many operations were timed."""
        return int(self.counts.sum())

    def slowest(self, shares: Floats) -> Floats:
        """Return for each share the latency (ns) that this share of the operations reaches.

        The slowest operation is exact; NaN for a share that is less than one operation, and for
        latencies that are hidden: what nobody measured is not drawn.
        """
        total = self.total
        rank = shares * total  # the rank-th slowest
        value = np.array([self.known.quantile(1 - share) for share in shares])
        value = np.minimum(value, self.largest)
        value[rank <= 1 + 1e-9] = self.largest
        value[rank < 1 - 1e-9] = math.nan
        value[rank > total - self.hidden] = math.nan
        return np.asarray(value)

    def density(self, edges: Floats) -> Floats:
        """Return the share of operations per 5 % step of latency between each two of edges."""
        seen = np.concatenate([[0.0], np.cumsum(self.counts)]) / self.total
        at = np.interp(edges, self.edges, seen, left=0.0, right=1.0)
        return np.asarray(np.diff(at) * math.log(STEP) / np.diff(np.log(edges)))


def of(result: Result, timed: Timed, case: Case) -> Distribution | None:
    """Return what a run timed; None if nothing is known of this operation."""
    counts = result.values(timed.histogram.name, case).astype(float)
    edges = result.values(timed.edges.name, case).astype(float)
    if not counts.sum() or len(edges) != len(counts) + 1:
        return None
    found = figures.of(result.counts, result.run, timed.sample.name, case)
    known, hidden = found.distribution, found.hidden
    largest = float(edges[-1]) if known.known_largest is None else float(known.known_largest)
    if hidden is None or not hidden.operations:
        return Distribution(counts, edges, largest, known)
    if hidden.hides(largest):
        return None
    step_ns = float(hidden.step_ns or 0)
    return Distribution(counts, edges, largest, known, hidden.operations, step_ns)


def all_of(results: Sequence[Result], timed: Timed, case: Case) -> list[Distribution]:
    """Return the distributions of those runs that timed anything."""
    found = (of(result, timed, case) for result in results)
    return [distribution for distribution in found if distribution is not None]


@dataclass(frozen=True)
class Band:
    """Median of several runs at each place of a common axis, and where the middle of them ends."""

    at: Floats
    middle: Floats
    low: Floats
    high: Floats


def depth(sides: Sequence[Sequence[Distribution]]) -> float:
    """Return the share of operations down to which half of the runs of each side have any.

    A side of more operations has slower ones only because of that: beyond, nothing is compared.
    """
    return max(1 / float(np.median([run.total for run in runs])) for runs in sides)


def tail(runs: Sequence[Distribution], least: float = 0.0, points: int = 160) -> Band:
    """Return the latency (low, middle, high) that each share (at) of operations reaches.

    at: from 1 down to least, or to one operation of the run with the most. A share that not every
    run has an operation for is shown as far as at least half of them have.
    """
    most = max(run.total for run in runs)
    shares = np.geomspace(1.0, max(least, 1 / most), points)
    values = np.array([run.slowest(shares) for run in runs])
    known = 2 * np.isfinite(values).sum(axis=0) >= len(runs)
    values = values[:, known]
    return Band(shares[known], np.nanmedian(values, axis=0), *spread.ends(values))


def view(runs: Sequence[Distribution]) -> tuple[float, float]:
    """Return the range (ns) that nearly all operations are in, in the median of the runs."""
    shares = 1 - np.array(_VIEW)
    ends = np.array([np.nan_to_num(run.slowest(shares), nan=_stand_in(run)) for run in runs])
    low, high = np.median(ends, axis=0)
    return max(float(low) / STEP**2, 1.0), float(high) * STEP**2


def _stand_in(run: Distribution) -> float:
    """Return the end of the view where a run has nothing to tell it by."""
    return run.step_ns if run.hidden else run.largest


def histogram(runs: Sequence[Distribution], between: tuple[float, float]) -> Band:
    """Return the share of operations per 5 % step (middle, low, high) from each edge (at) on.

    The edges are the buckets' own, so that nothing is smoothed; the last edge ends the last step,
    and its values repeat the last.
    """
    edges = np.unique(np.concatenate([run.edges for run in runs]))
    edges = edges[(edges > 0) & (edges >= between[0] / 1.07) & (edges <= between[1] * 1.07)]
    if len(edges) < 2:
        edges = np.geomspace(between[0], between[1], 3)
    shares = np.array([run.density(edges) for run in runs])
    shares = np.concatenate([shares, shares[:, -1:]], axis=1)
    return Band(edges, np.median(shares, axis=0), *spread.ends(shares))

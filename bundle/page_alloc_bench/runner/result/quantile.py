# SPDX-License-Identifier: GPL-2.0-only
"""The one definition of a percentile: every output calls this.

The module counts every timed operation in a histogram, whose buckets are at most 1/16 wide, and
keeps a uniform sample of them. The histogram tells the bucket that a percentile is in; where in it
is told by the sampled latencies that are in the bucket, if they are enough, and by a straight line
through it if not. So a percentile is one of all timed operations, and not of a sample.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .case import Case
from .metrics import Metric, Timed

PERCENTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}

# Fewer sampled latencies than this in a bucket, and a straight line through it is the better guess.
_LEAST_INSIDE = 32
# The fewest values of which a half is told: of two, the median is no more than their mean.
_LEAST_OF_MEDIAN = 3

Get = Callable[[str, "Case | int"], Sequence[int]]


def enough(figure: str, values: int, beyond: int = 1) -> bool:
    """Return whether so many values have such a figure: median, p95, p99, p99.9; others always.

    beyond: how many values are to be beyond a percentile.
    """
    part = PERCENTILES.get(figure)
    if part is None:
        return values >= 1
    if part == 0.5:
        return values >= max(_LEAST_OF_MEDIAN, 2 * beyond)
    return round(values * (1 - part), 6) >= beyond


def interpolated(ordered: Sequence[int], part: float) -> float:
    """Return the value that a part of the ordered values does not exceed, between two of them.

    The values are taken as the ends of equal steps: the 7th definition of Hyndman and Fan, which
    numpy, R and spreadsheets have too. Raises IndexError if there are no values.
    """
    place = part * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


class InOrder(array):  # type: ignore[type-arg]  # only since 3.12 at run time
    """Values from the least to the most: whoever has them so spares the sorting."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """Latencies of timed operations, or the values of another metric, in its unit.

    counts: of the buckets between edges; empty where there is no histogram, and the values are all
    that is known. sample: values in any order. known_size, known_total, known_largest: how
    many all are, their sum, and the largest of them, where known.
    """

    counts: Sequence[int]
    edges: Sequence[int]
    sample: Sequence[int]
    known_size: int | None = None
    known_total: int | None = None
    known_largest: int | None = None

    @functools.cached_property
    def size(self) -> int:
        """Return how many operations the figures are of."""
        return self._ends[-1] if self._ends else len(self.sample)

    @functools.cached_property
    def ordered(self) -> Sequence[int]:
        """Return the sample from the least to the most."""
        return self.sample if isinstance(self.sample, InOrder) else sorted(self.sample)

    @functools.cached_property
    def _ends(self) -> list[int]:
        ends = list(itertools.accumulate(map(int, self.counts)))
        return ends if ends and ends[-1] else []

    @property
    def mean(self) -> float | None:
        """Return the mean of all, or of the sample if no more is known; None of nothing."""
        if self._ends and self.known_total is not None:
            return self.known_total / self._ends[-1]
        return sum(self.sample) / len(self.sample) if self.sample else None

    @property
    def least(self) -> float:
        """Return the least of all; a histogram's is that of the sample, or a bucket's beginning.

        Raises IndexError of nothing.
        """
        if not self._ends:
            return self.ordered[0]
        bucket = bisect.bisect_left(self._ends, 1)
        known = bool(self.ordered) and self.ordered[0] < self.edges[bucket + 1]
        return self.ordered[0] if known else int(self.edges[bucket])

    @property
    def largest(self) -> float:
        """Return the largest of all, as far as it is known. Raises IndexError of nothing."""
        return self.quantile(1.0) if self.known_largest is None else self.known_largest

    @property
    def largest_is_of_more(self) -> bool:
        """Return whether the largest is of more operations than the other figures are."""
        return not self._ends and (self.known_size or 0) > len(self.sample)

    def figure(self, name: str) -> float:
        """Return a figure by its name: min, median, p95, p99, p99.9 or max."""
        if name in PERCENTILES:
            return self.quantile(PERCENTILES[name])
        return {"min": self.least, "max": self.largest}[name]

    def quantile(self, part: float) -> float:
        """Return the value that this part of all does not exceed. Raises IndexError of nothing."""
        if not self._ends:
            return float(interpolated(self.ordered, part))
        rank = part * self._ends[-1]
        bucket = bisect.bisect_left(self._ends, rank if rank > 0 else 1)
        count = int(self.counts[bucket])
        low, high = int(self.edges[bucket]), int(self.edges[bucket + 1])
        inside = max(0.0, (rank - (self._ends[bucket] - count)) / count)
        first = bisect.bisect_left(self.ordered, low)
        end = bisect.bisect_left(self.ordered, high)
        if end - first >= _LEAST_INSIDE:
            return float(interpolated(self.ordered[first:end], inside))
        if self.known_largest is not None:
            high = min(high, max(low, self.known_largest))
        return low + inside * (high - low)


def timed(get: Get, of: Timed, case: Case | int) -> Distribution:
    """Return the latencies of a timed operation of a result, as far as it has them.

    get: returns a metric's values in a case; none if it was not measured.
    """

    def known(metric: Metric) -> int | None:
        values = get(metric.name, case)
        return int(values[0]) if len(values) else None

    return Distribution(
        counts=get(of.histogram.name, case),
        edges=get(of.edges.name, case),
        sample=get(of.sample.name, case),
        known_size=known(of.timed),
        known_total=known(of.total),
        known_largest=known(of.largest),
    )


def of_values(values: Sequence[int]) -> Distribution:
    """Return the distribution of values that are all there are."""
    return Distribution((), (), values)


def variance(values: Sequence[int]) -> float:
    """Return the variance of a sample; NaN of fewer than two values."""
    if len(values) < 2:
        return math.nan
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)

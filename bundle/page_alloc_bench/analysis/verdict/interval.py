# SPDX-License-Identifier: GPL-2.0-only
"""By how much the boots of one side differ from those of another: a test, and its interval.

Figures are taken as logarithms, so that a difference is a ratio. The estimate is Hodges and
Lehmann's: the median of all differences between a boot of one side and one of the other (Annals of
Mathematical Statistics 34, 1963). Its interval holds each shift that the exact Mann-Whitney U test
does not reject: it asks nothing of the distribution but that both sides have the same.

All functions but u_test() work on many samples at once: the last axis is that of the boots.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

# Boots a side up to which the U test counts all ways to share out tied figures.
EXACT_WITH_TIES = 20
# Boots a side up to which the distribution of U is counted where nothing is tied.
EXACT = 100
# U alone is too sure if one side spreads this many times as much as the other, or if one side is
# this many times as large and does not spread more, for then the smaller one may do so unseen.
UNEQUAL_SPREAD = 1.5
UNEQUAL_SIZE = 1.5


@dataclass(frozen=True)
class Sample:
    """What one side measured, a value a boot, or many such sides at once.

    low, high: logarithms of what each value is at least and at most. They are the same but for a
    value below what could be measured, whose low is -inf. spent: the degrees of freedom that it may
    have cost to take something off the values.
    """

    low: Array
    high: Array
    spent: int = 0

    @classmethod
    def of(cls, values: Array) -> Sample:
        """Return a sample of known values, which are 0 or more."""
        with np.errstate(divide="ignore"):
            logs = np.log(values)
        return cls(logs, logs)

    @property
    def boots(self) -> int:
        """Return how many values a side has."""
        return int(self.low.shape[-1])

    @property
    def freedom(self) -> int:
        """Return the degrees of freedom of the spread of a side."""
        return max(1, self.boots - 1 - self.spent)

    @property
    def known(self) -> bool:
        """Return whether all values are known, and none is 0."""
        return self.low is self.high and bool(np.all(np.isfinite(self.low)))


@dataclass(frozen=True)
class Shift:
    """The difference of two sides as logarithms: new less base.

    estimate: nan where values that were too small to be measured hide it. low, high: the interval;
    infinite where too few boots have none, or where nothing bounds it.
    """

    estimate: Array
    low: Array
    high: Array


def shift(base: Sample, new: Sample, alpha: float) -> Shift:
    """Return the estimate and the interval of the difference, at a confidence of 1 - alpha.

    With tied values the interval is closed. A truth that is a whole number of the steps that they
    are read by is then often an end of it, and is covered more often than it says: without its ends
    the interval would cover such a truth too seldom, and no other is in between. A truth between
    two steps is covered no more often than it says, and less if the steps are coarse.
    Where the sides spread unequally, or the smaller one may, it reaches as far as Welch's t
    interval too: U asks for one distribution, and is too sure if the smaller side spreads more.
    """
    k = critical(base.boots, new.boots, alpha)
    least = _differences(new.low, base.high)
    most = least
    if base.low is not base.high or new.low is not new.high:
        most = _differences(new.high, base.low)
    change = bounded(least, most, k)
    if k == 0:
        return change
    return Shift(change.estimate, *_widened(base, new, alpha, change.low, change.high))


def bounded(least: Array, most: Array, k: int) -> Shift:
    """Return the median of differences and the k-th from either end as the interval; 0: no bounds.

    least, most: what each is at least and at most; where this hides the median, it is nan.
    """
    places = _places(least.shape[-1], k)
    ordered = np.partition(least, places, axis=-1)
    upper = ordered if most is least else np.partition(most, places, axis=-1)
    middle = _median(ordered), _median(upper)
    estimate = np.where(middle[0] == middle[1], middle[0], np.nan)
    if k == 0:
        endless = np.full(estimate.shape, np.inf)
        return Shift(estimate, -endless, endless)
    return Shift(estimate, ordered[..., k - 1], upper[..., -k])


def _places(size: int, k: int) -> list[int]:
    """Return where the median and the bounds are among so many differences in order."""
    bounds = (k - 1, size - k) if k else ()
    return sorted({(size - 1) // 2, size // 2, *bounds})


def _differences(left: Array, right: Array) -> Array:
    """Return each value of left less each of right; of two infinite ones, 0."""
    with np.errstate(invalid="ignore"):
        pairs = left[..., :, None] - right[..., None, :]
    pairs = np.where(np.isnan(pairs), 0.0, pairs)
    return pairs.reshape(*pairs.shape[:-2], -1)


def _median(ordered: Array) -> Array:
    """Return the median of what is in order around its middle, infinite values among it."""
    size = ordered.shape[-1]
    low, high = ordered[..., (size - 1) // 2], ordered[..., size // 2]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(low == high, low, (low + high) / 2))


def _widened(
    base: Sample, new: Sample, alpha: float, low: Array, high: Array
) -> tuple[Array, Array]:
    """Return the interval, as far as Welch's where the spreads of the sides are unequal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spreads = [np.var(side.high, axis=-1, ddof=1) for side in (base, new)]
        unequal = np.maximum(*spreads) > UNEQUAL_SPREAD**2 * np.minimum(*spreads)
        parts = [s / side.boots for s, side in zip(spreads, (base, new), strict=True)]
        freedom = (parts[0] + parts[1]) ** 2 / (
            parts[0] ** 2 / base.freedom + parts[1] ** 2 / new.freedom
        )
        half = special.stdtrit(freedom, 1 - alpha / 2) * np.sqrt(parts[0] + parts[1])
        middle = np.mean(new.high, axis=-1) - np.mean(base.high, axis=-1)
    few, many = (0, 1) if base.boots < new.boots else (1, 0)
    sizes = base.boots, new.boots
    unseen = (sizes[many] >= UNEQUAL_SIZE * sizes[few]) & (spreads[few] >= spreads[many])
    use = (unequal | unseen) & np.isfinite(half) & np.isfinite(middle)
    return (
        np.where(use, np.minimum(low, middle - half), low),
        np.where(use, np.maximum(high, middle + half), high),
    )


@functools.cache
def critical(base: int, new: int, alpha: float) -> int:
    """Return which difference, counted from either end, bounds the interval; 0 if none does.

    It is the largest k with 2 P(U <= k - 1) <= alpha.
    """
    if base * new > EXACT**2:
        spread = math.sqrt(base * new * (base + new + 1) / 12)
        z = float(special.ndtri(1 - alpha / 2))
        return max(0, math.floor(base * new / 2 - z * spread))
    ways = np.cumsum(ways_of(base, new))
    return int(np.searchsorted(2 * ways / ways[-1], alpha * (1 + 1e-12), side="right"))


@functools.cache
def ways_of(base: int, new: int) -> Array:
    """Return for each U in how many orders of so many values it comes out.

    The generating function is the product of (1 - x^(new + i)) / (1 - x^i) for i up to base.
    """
    ways = np.zeros(base * new + 1)
    ways[0] = 1.0
    for i in range(1, base + 1):
        if new + i < ways.size:
            ways[new + i :] = ways[new + i :] - ways[: -(new + i)]
        for start in range(i):
            ways[start::i] = np.cumsum(ways[start::i])
    return ways


def least_p(base: int, new: int) -> float:
    """Return the smallest two-sided p that U can have with so many boots: all of one side above."""
    return 2 / math.comb(base + new, base)


def least_boots(alpha: float) -> int:
    """Return how many boots a side it takes until an interval has bounds at all."""
    boots = 2
    while least_p(boots, boots) > alpha:
        boots += 1
    return boots


def u_test(base: Sample, new: Sample) -> float:
    """Return the two-sided p of the Mann-Whitney U test for one sample a side.

    Exact up to EXACT_WITH_TIES boots a side with ties and up to EXACT without; the usual
    approximation, corrected for ties and continuity, beyond. A value below what could be measured
    is tied with all that are not surely above it.
    """
    left, right = _ranked(base, new)
    together = np.concatenate([left, right])
    distinct = np.unique(together).size
    if distinct == 1:
        return 1.0
    if distinct == together.size and max(left.size, right.size) <= EXACT:
        below = int(np.sum(right[:, None] < left[None, :]))
        ways = ways_of(left.size, right.size)
        tail = float(np.sum(ways[: min(below, left.size * right.size - below) + 1]))
        return min(1.0, 2 * tail / float(np.sum(ways)))
    if max(left.size, right.size) <= EXACT_WITH_TIES:
        return _exact_with_ties(left, right)
    return _approximate(left, right)


def _ranked(base: Sample, new: Sample) -> tuple[Array, Array]:
    """Return the values of both sides with those that could not be measured as lowest ties."""
    sides = (base, new)
    hidden = [side.high[side.low < side.high] for side in sides]
    limit = max((float(np.max(h)) for h in hidden if h.size), default=-np.inf)
    left, right = (np.where(side.high <= limit, -np.inf, side.high) for side in sides)
    return left, right


def midranks(values: Array) -> Array:
    """Return the rank of each value from 1 on; those that are equal have the mean of theirs."""
    _, place, size = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(size) - (size - 1) / 2)[place]
    return ranks


def _approximate(left: Array, right: Array) -> float:
    """Return the two-sided p by the normal distribution, corrected for ties and continuity.

    scipy.stats.mannwhitneyu() is the same; to import it takes a third of a second of CPU or more.
    """
    together = np.concatenate([right, left])
    size, pairs = together.size, left.size * right.size
    _, ties = np.unique(together, return_counts=True)
    first = np.sum(midranks(together)[: right.size]) - right.size * (right.size + 1) / 2
    tied = np.sum(ties.astype(float) ** 3 - ties)
    spread = math.sqrt(pairs / 12 * (size + 1 - tied / (size * (size - 1))))
    z = (max(first, pairs - first) - pairs / 2 - 0.5) / spread
    return float(min(1.0, 2 * special.ndtr(-z)))


def _exact_with_ties(left: Array, right: Array) -> float:
    """Count all ways to choose as many midranks as right has, by their sum.

    The sums are of doubled midranks, which are integers. After each rank, ways[j, s] is in how many
    ways j of the ranks so far have the sum s.
    """
    together = np.concatenate([left, right])
    doubled = np.rint(2 * midranks(together)).astype(int)
    chosen, most = right.size, int(np.sum(doubled))
    ways = np.zeros((chosen + 1, most + 1))
    ways[0, 0] = 1.0
    for rank in map(int, doubled):
        ways[1:, rank:] += ways[:-1, : most + 1 - rank].copy()
    sums = np.arange(most + 1)
    middle = chosen * (together.size + 1)
    seen = abs(int(np.sum(doubled[left.size :])) - middle)
    far = np.abs(sums - middle) >= seen
    return float(np.sum(ways[chosen, far]) / np.sum(ways[chosen]))


def holm(p: list[float]) -> list[float]:
    """Return p corrected for their number by Holm's method, in their order."""
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return [float(value) for value in corrected]

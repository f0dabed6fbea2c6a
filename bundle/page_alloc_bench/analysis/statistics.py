# SPDX-License-Identifier: GPL-2.0-only
"""What two sets of runs say about each other. One observation is one run.

All of it is scipy's, but for Holm's correction and Noether's formula: a line of arithmetic each,
which scipy does not have.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Interval = tuple[float, float]

LEAST_RUNS = 4  # a side; below, no two sides are so far apart that a test could tell
RESAMPLES = 5000
_ENUMERABLE = 50_000  # ways to share out the runs to two sides that can all be gone through
_FEW = 20  # runs per side, up to which Noether's formula needs help
_EXACT = 100  # runs per side, up to which the exact distribution of U is quick to have


def median_interval(values: Array, confidence: float) -> Interval | None:
    """Return the exact, distribution-free interval of the median: two of the values.

    None where none exists: for 95 % there must be six values at least.
    """
    interval = stats.quantile_test(values, p=0.5).confidence_interval(confidence)
    low, high = float(interval.low), float(interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


@dataclass(frozen=True)
class Change:
    """Of the medians, relative to the first: 0.05 is 5 % more.

    interval: None where there is none. logs: what the bootstrap gave for log(1 + change).
    """

    ratio: float | None
    interval: Interval | None
    logs: Array | None


def change(
    base: Array, new: Array, confidence: float, seed: int, resamples: int = RESAMPLES
) -> Change:
    """Return the change of the median and its bootstrap interval (percentile method).

    The same seed draws the same runs from sides of the same sizes: the intervals of several metrics
    belong together. No interval with fewer than LEAST_RUNS a side or where the base can be 0.
    """
    middle = float(np.median(base))
    ratio = float(np.median(new)) / middle - 1 if middle else None
    if ratio is None or min(base.size, new.size) < LEAST_RUNS or base.min() <= 0:
        return Change(ratio, None, None)
    done = stats.bootstrap(
        (base, new),
        _relative,
        n_resamples=resamples,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = done.confidence_interval
    logs = np.log1p(done.bootstrap_distribution) if new.min() > 0 else None
    return Change(ratio, (float(interval.low), float(interval.high)), logs)


def _relative(base: Array, new: Array, axis: int = -1) -> Array:
    relative: Array = np.median(new, axis=axis) / np.median(base, axis=axis) - 1
    return relative


def geometric_mean(
    changes: Sequence[Change], confidence: float
) -> tuple[float | None, Interval | None]:
    """Return the geometric mean of (1 + change), less 1, and its interval.

    None where a change is unknown or to 0. The changes must be those of the same runs.
    """
    ratios = [c.ratio for c in changes if c.ratio is not None and c.ratio > -1]
    if not ratios or len(ratios) < len(changes):
        return None, None
    mean = float(stats.gmean([1 + ratio for ratio in ratios])) - 1
    logs = [c.logs for c in changes if c.logs is not None]
    if len(logs) < len(changes):
        return mean, None
    tail = (1 - confidence) / 2
    low, high = np.expm1(np.quantile(np.mean(logs, axis=0), [tail, 1 - tail]))
    return mean, (float(low), float(high))


def u_test(base: Array, new: Array) -> tuple[float, int]:
    """Return the two-sided p of the Mann-Whitney U test, and the side that tends to be larger.

    The side is 1 for new, -1 for base, 0 for neither. Exact as long as that can be computed: by the
    distribution of U without ties, by going through all ways to share out the runs with them.
    """
    together = np.concatenate([base, new])
    distinct = np.unique(together).size
    if distinct == 1:
        return 1.0, 0
    method: object = "asymptotic"
    if distinct == together.size and max(base.size, new.size) <= _EXACT:
        method = "exact"
    elif min(base.size, new.size) > 1 and math.comb(together.size, base.size) <= _ENUMERABLE:
        method = stats.PermutationMethod(n_resamples=_ENUMERABLE)
    done = stats.mannwhitneyu(new, base, alternative="two-sided", method=method)
    return float(done.pvalue), int(np.sign(done.statistic - base.size * new.size / 2))


def holm(p: Sequence[float]) -> list[float]:
    """Return p corrected for their number by Holm's method, in their order."""
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return [float(value) for value in corrected]


def least_p(base: int, new: int) -> float:
    """Return the smallest two-sided p that U can have with so many runs: all of one side above."""
    return 2 / math.comb(base + new, base)


def least_runs(tests: int, alpha: float) -> int:
    """Return how many runs per side it takes until one of so many tests can be significant."""
    runs = LEAST_RUNS
    while least_p(runs, runs) * tests > alpha:
        runs += 1
    return runs


def runs_needed(
    base: Array, new: Array, relative: float, alpha: float, power: float = 0.8
) -> int | None:
    """Return about how many runs per side find a change of this size with this power.

    For logarithms that are normal with the variance seen within the sides: by Noether's formula for
    the U test (JASA 82, 1987), which asks for too many if they are few, so that a simulation takes
    off from few again. None if no variance can be seen: fewer than two runs, or a 0.
    """
    if min(base.size, new.size) < 2 or min(base.min(), new.min()) <= 0:
        return None
    logs = (np.log(base), np.log(new))
    freedom = base.size + new.size - 2
    spread = math.sqrt(sum(float(np.var(v, ddof=1)) * (v.size - 1) for v in logs) / freedom)
    if not spread:
        return LEAST_RUNS
    shift = math.log1p(relative) / spread
    above = float(stats.norm.cdf(shift / math.sqrt(2)))
    z = float(stats.norm.isf(alpha / 2) + stats.norm.isf(1 - power))
    runs = max(LEAST_RUNS, math.ceil(z**2 / (6 * (above - 0.5) ** 2)))
    while LEAST_RUNS < runs <= _FEW and _power(runs - 1, shift, alpha) >= power:
        runs -= 1
    return runs


@functools.cache
def _power(runs: int, shift: float, alpha: float) -> float:
    """Return how often U finds a shift by that many standard deviations with that many runs."""
    rng = np.random.default_rng(1)
    done = stats.power(
        lambda x, y, axis: stats.mannwhitneyu(x, y, axis=axis, method="exact").pvalue,
        (rng.standard_normal, lambda size: rng.normal(shift, 1, size)),
        (runs, runs),
        significance=alpha,
        n_resamples=1000,
    )
    return float(done.power)

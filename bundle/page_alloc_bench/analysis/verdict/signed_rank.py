# SPDX-License-Identifier: GPL-2.0-only
"""By how much the sides differ where each host measured both: a test of pairs, and its interval.

Each host gives one difference of logarithms, so that hosts need not be alike. The estimate is
Hodges and Lehmann's for one sample: the median of the means of all pairs of differences, each
with itself too (Annals of Mathematical Statistics 34, 1963). Its interval holds each shift that
the exact test of signed ranks does not reject (Wilcoxon, Biometrics Bulletin 1, 1945). It asks
that the differences of the hosts lie about their middle alike on both sides.

All functions but test() work on many samples at once: the last axis is that of the hosts.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special

from . import power
from .interval import Array, Sample, Shift, bounded, midranks
from .power import Needed

# Hosts up to which the distribution of the sum of ranks is counted.
EXACT = 100


def shift(base: Sample, new: Sample, alpha: float) -> Shift:
    """Return the estimate and the interval of the difference, at a confidence of 1 - alpha.

    base, new: of the same hosts in the same order.
    """
    k = critical(base.boots, alpha)
    least = _means(_difference(new.low, base.high))
    most = _means(_difference(new.high, base.low))
    return bounded(least, most, k)


def test(base: Sample, new: Sample) -> float:
    """Return the two-sided p for the hosts of one figure.

    Exact up to EXACT hosts, also with ties; beyond, the normal distribution. A host whose
    difference is 0, or hidden by what could not be measured, has its rank and no sign (Pratt,
    Journal of the American Statistical Association 54, 1959).
    """
    least, most = _difference(new.low, base.high), _difference(new.high, base.low)
    differences = np.where(least == most, least, 0.0)
    doubled = np.rint(2 * midranks(np.abs(differences))).astype(int)
    signed = doubled[differences != 0]
    seen = abs(int(np.sum(signed * np.sign(differences[differences != 0]))))
    if signed.size > EXACT:
        z = seen / math.sqrt(float(np.sum(signed.astype(float) ** 2)))
        return float(min(1.0, 2 * special.ndtr(-z)))
    ways = _sums(signed.tolist())
    sums = np.abs(2 * np.arange(ways.size) - int(np.sum(signed)))
    return float(np.sum(ways[sums >= seen]) / np.sum(ways))


@functools.cache
def critical(hosts: int, alpha: float) -> int:
    """Return which mean of pairs, counted from either end, bounds the interval; 0 if none does.

    It is the largest k with 2 P(T <= k - 1) <= alpha, T being the sum of the ranks of one sign.
    """
    if hosts > EXACT:
        spread = math.sqrt(hosts * (hosts + 1) * (2 * hosts + 1) / 24)
        z = float(special.ndtri(1 - alpha / 2))
        return max(0, math.floor(hosts * (hosts + 1) / 4 - z * spread))
    ways = np.cumsum(_sums(range(1, hosts + 1)))
    return int(np.searchsorted(2 * ways / ways[-1], alpha * (1 + 1e-12), side="right"))


def least_hosts(alpha: float) -> int:
    """Return how many hosts it takes until an interval has bounds: all of them of one sign."""
    return max(2, math.ceil(1 - math.log2(alpha)))


def needed(base: Array, new: Array, distance: float, alpha: float) -> Needed | None:
    """Return how many hosts the decision needs; None where no spread can be seen.

    As power.needed(), whose words on the uncertainty hold. base, new: logarithms, a host each.
    """
    differences = new - base
    freedom = differences.size - 1
    if freedom < 1 or not np.all(np.isfinite(differences)):
        return None
    squares = float(np.sum((differences - np.mean(differences)) ** 2))
    return power.by_spread(squares, freedom, lambda spread: _hosts_needed(spread, distance, alpha))


def _hosts_needed(spread: float, distance: float, alpha: float) -> int:
    least = least_hosts(alpha)
    return power.fewest(least, spread, distance, lambda hosts: _detectable(hosts, alpha))


@functools.cache
def _detectable(hosts: int, alpha: float) -> float:
    """Return what power.detectable() does, for hosts whose differences are normal."""
    k = critical(hosts, alpha)
    if k == 0:
        return math.inf
    rng = np.random.default_rng(hosts)
    means = _means(rng.normal(size=(power.REPETITIONS, hosts)))
    bounds = np.partition(means, k - 1, axis=-1)[:, k - 1]
    return -float(np.quantile(bounds, 1 - power.POWER))


def _difference(left: Array, right: Array) -> Array:
    """Return left less right; of two infinite ones, 0."""
    with np.errstate(invalid="ignore"):
        found = left - right
    return np.where(np.isnan(found), 0.0, found)


def _means(differences: Array) -> Array:
    """Return the means of all pairs of differences, each with itself too."""
    first, second = np.triu_indices(differences.shape[-1])
    with np.errstate(invalid="ignore"):
        found = (differences[..., first] + differences[..., second]) / 2
    return np.where(np.isnan(found), 0.0, found)


def _sums(ranks: range | list[int]) -> Array:
    """Return for each sum in how many ways it comes out, each rank being taken or not."""
    ways = np.zeros(sum(ranks) + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] += ways[: ways.size - rank].copy()
    return ways

# SPDX-License-Identifier: GPL-2.0-only
"""Merge what each CPU measured: samples, histograms and maxima.

The module keeps, for each CPU and class, a uniform sample (a reservoir) of that CPU's timed
operations. Timed operations are chosen with the same probability on every CPU, so a uniform
sample of all timed operations is one of all operations. Putting the reservoirs together is not:
a CPU that did a tenth of the work would fill as much of the sample as the others.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from array import array
from collections.abc import Sequence

ONE_IN = 64  # two clock reads cost up to half an allocation: 1/64 keeps it below 1 %

_LEAST_CAPACITY = 1024
_HEADROOM = 4  # how far above its share of the operations a CPU may be before the sample shrinks
_SIGMAS = 7.0  # a count this far above its mean has a probability of about 1e-12


def capacity_per_cpu(sample_size: int, cpus: int) -> int:
    """Return how many latencies each CPU should keep for a merged sample of sample_size."""
    return min(sample_size, max(_LEAST_CAPACITY, _HEADROOM * sample_size // cpus))


def merge_samples(
    timed: Sequence[int], reservoirs: Sequence[Sequence[int]], size: int, seed: int
) -> array[int]:
    """Return a uniform sample, of at most size, of the operations timed on all CPUs.

    timed: how many operations each CPU timed. reservoirs: a uniform sample of those, in ns, per
    CPU. How many come from each CPU is drawn as if from all operations without replacement (a
    multivariate hypergeometric distribution), and then that many at random from its reservoir.
    The order of the result is random too. Deterministic for a given seed.
    """
    rng = random.Random(seed)  # noqa: S311 - statistics, no secret
    merged: array[int] = array("Q")
    for reservoir, count in zip(reservoirs, _draw_counts(rng, timed, reservoirs, size)):
        merged.extend(reservoir[i] for i in rng.sample(range(len(reservoir)), count))
    rng.shuffle(merged)
    return merged


def merge_histograms(histograms: Sequence[Sequence[int]]) -> list[int]:
    """Return the bucket-wise sum of histograms of the same buckets."""
    return [sum(counts) for counts in zip(*histograms)]


def _draw_counts(
    rng: random.Random, timed: Sequence[int], reservoirs: Sequence[Sequence[int]], size: int
) -> list[int]:
    """Return how many latencies to take from each CPU."""
    kept = [len(reservoir) for reservoir in reservoirs]
    total = _affordable(timed, kept, size)
    ends = list(itertools.accumulate(timed))
    while True:
        counts = [0] * len(timed)
        # range() is a population that takes no memory: operation number n of all CPUs in a row.
        for operation in rng.sample(range(ends[-1] if ends else 0), total):
            counts[bisect.bisect_right(ends, operation)] += 1
        if all(count <= there for count, there in zip(counts, kept)):
            return counts


def _affordable(timed: Sequence[int], kept: Sequence[int], size: int) -> int:
    """Return the largest total that draws no more from any CPU than its reservoir keeps.

    The share of a CPU in a sample of k has the mean k p and at most the variance k p (1 - p), p
    being its part of all timed operations. k is chosen so that the mean plus _SIGMAS standard
    deviations fits, which depends on the counts alone and thus favours no latency; the draw is
    repeated in the one case in 1e12 where it does not fit. A CPU whose reservoir keeps all that
    it timed cannot be overdrawn.
    """
    population = sum(timed)
    total = min(size, population)
    for operations, there in zip(timed, kept):
        if there < operations:
            p = operations / population
            deviation = _SIGMAS * math.sqrt(p * (1 - p))
            # The positive root x = sqrt(k) of p x^2 + deviation x - there = 0.
            root = (math.sqrt(deviation**2 + 4 * p * there) - deviation) / (2 * p)
            total = min(total, int(root**2 + 1e-6))
    return total

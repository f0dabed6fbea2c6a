# SPDX-License-Identifier: GPL-2.0-only
"""Merge the samples of latencies that each CPU took.

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
from collections.abc import Iterable, Sequence

ONE_IN = 64  # two clock reads cost up to half an allocation: 1/64 keeps it below 1 %
TIME_ONE_IN = {"sampled": ONE_IN, "all": 1, "none": 0}  # by --latencies

_LEAST_CAPACITY = 1024
_HEADROOM = 4  # how far above its share of the operations a CPU may be before the sample shrinks
_SIGMAS = 7.0  # a count this far above its mean has a probability of about 1e-12


def capacity_per_cpu(sample_size: int, cpus: int) -> int:
    """Return how many latencies each CPU should keep for a merged sample of sample_size."""
    return min(sample_size, max(_LEAST_CAPACITY, _HEADROOM * sample_size // cpus))


def merge_samples(
    timed: Sequence[int],
    kept: Sequence[int],
    reservoirs: Iterable[Sequence[int]],
    size: int,
    seed: int,
) -> array[int]:
    """Return a uniform sample, of at most size, of the operations timed on all CPUs.

    timed: how many operations each CPU timed; kept: of how many its reservoir has the latency.
    reservoirs: a uniform sample of those, in ns, per CPU; each is looked at once and let go, so
    that they need not all be in memory. How many come from each CPU is drawn as if from all
    operations without replacement (a multivariate hypergeometric distribution), and then that many
    at random from its reservoir. The order of the result is random too. Deterministic for a given
    seed.
    """
    rng = random.Random(seed)  # noqa: S311 - statistics, no secret
    merged: array[int] = array("Q")
    for reservoir, count in zip(reservoirs, _draw_counts(rng, timed, kept, size)):
        merged.extend(_pick(rng, reservoir, count))
    rng.shuffle(merged)
    return merged


def _pick(rng: random.Random, reservoir: Sequence[int], count: int) -> array[int]:
    """Return count of a reservoir's latencies at random (the beginning of a Fisher-Yates shuffle).

    Not random.sample(), whose list and set take ten times the memory of what they are made of.
    """
    pool: array[int] = array("Q", reservoir)
    for place in range(count):
        other = place + int(rng.random() * (len(pool) - place))
        pool[place], pool[other] = pool[other], pool[place]
    del pool[count:]
    return pool


def _draw_counts(
    rng: random.Random, timed: Sequence[int], kept: Sequence[int], size: int
) -> list[int]:
    """Return how many latencies to take from each CPU."""
    total = _affordable(timed, kept, size)
    while True:
        counts = _draw(rng, timed, total)
        if all(count <= there for count, there in zip(counts, kept)):
            return counts


def _draw(rng: random.Random, timed: Sequence[int], total: int) -> list[int]:
    """Return how many of total operations are each CPU's, if no operation is drawn twice.

    Which operations of a CPU have been drawn makes no difference to what is left of it, so its
    last ones stand for them; memory is taken for the CPUs only. Of more than half of all operations
    those that are left out are drawn.
    """
    ends = list(itertools.accumulate(timed))
    population = ends[-1] if ends else 0
    if 2 * total > population:
        return [n - left for n, left in zip(timed, _draw(rng, timed, population - total))]
    counts = [0] * len(timed)
    while total:
        operation = int(rng.random() * population)
        cpu = bisect.bisect_right(ends, operation)
        if ends[cpu] - operation > counts[cpu]:
            counts[cpu] += 1
            total -= 1
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

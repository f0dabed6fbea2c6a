# SPDX-License-Identifier: GPL-2.0-only
"""How many boots a side it takes until an interval decides.

The decision is the one that states.py makes: that a metric is no worse than the threshold where
nothing changed, or worse where it changed by twice the threshold. Both take an interval that ends
one threshold away from the truth, so both take the same number of boots.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from .interval import Array, critical, least_boots

POWER = 0.8
_SIMULATED = 20  # boots a side; with more, the distance needed shrinks as one over their root
REPETITIONS = 4000
MANY = 1000  # boots a side: more are not told apart


@dataclass(frozen=True)
class Needed:
    """Boots a side, by the spread that was seen. low, high: by the 95 % interval of that spread.

    A number of MANY means so many or more.
    """

    boots: int
    low: int
    high: int


@functools.cache
def detectable(boots: int, alpha: float, power: float = POWER) -> float:
    """Return how far the truth must be off for an interval to show it, in standard deviations.

    For normal logarithms of one spread, by a simulation with a fixed seed: with this power the
    interval of so many boots a side ends before it. Infinite if they have no interval.
    """
    if boots > _SIMULATED:
        return detectable(_SIMULATED, alpha, power) * math.sqrt(_SIMULATED / boots)
    k = critical(boots, boots, alpha)
    if k == 0:
        return math.inf
    rng = np.random.default_rng(boots)
    values = rng.normal(size=(2, REPETITIONS, boots))
    pairs = values[0][:, :, None] - values[1][:, None, :]
    bounds = np.partition(pairs.reshape(REPETITIONS, -1), k - 1, axis=-1)[:, k - 1]
    return -float(np.quantile(bounds, 1 - power))


def boots_needed(spread: float, distance: float, alpha: float, power: float = POWER) -> int:
    """Return the boots a side whose interval shows such a distance with this power.

    spread: the standard deviation of the logarithms within a side.
    """
    return fewest(
        least_boots(alpha), spread, distance, lambda boots: detectable(boots, alpha, power)
    )


def fewest(least: int, spread: float, distance: float, shown_by: Callable[[int], float]) -> int:
    """Return the least number that shows a distance, and MANY if it is more.

    shown_by: gives the distance, in standard deviations, that so many show; with more than are
    simulated it shrinks as one over their root.
    """
    if not spread:
        return least
    wanted = distance / spread
    tried = range(least, max(least, _SIMULATED) + 1)
    place = bisect.bisect_left(tried, True, key=lambda n: shown_by(n) <= wanted)
    if place < len(tried):
        return tried[place]
    return min(MANY, math.ceil(tried[-1] * (shown_by(tried[-1]) / wanted) ** 2))


def needed(base: Array, new: Array, distance: float, alpha: float) -> Needed | None:
    """Return how many boots a side the decision needs; None where no spread can be seen.

    base, new: logarithms of the figures, a boot each. The uncertainty of a spread seen in so few
    boots is that of the chi-squared distribution.
    """
    freedom = base.size + new.size - 2
    if min(base.size, new.size) < 2 or not np.all(np.isfinite(np.concatenate([base, new]))):
        return None
    squares = sum(float(np.sum((side - np.mean(side)) ** 2)) for side in (base, new))
    return by_spread(squares, freedom, lambda spread: boots_needed(spread, distance, alpha))


def by_spread(squares: float, freedom: int, number: Callable[[float], int]) -> Needed:
    """Return what number() gives for a spread, and for the ends of its 95 % interval."""
    bounds = [squares / special.chdtri(freedom, tail) for tail in (0.025, 0.975)]
    middle, low, high = (number(math.sqrt(v)) for v in (squares / freedom, *bounds))
    return Needed(middle, low, high)

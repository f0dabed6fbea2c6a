# SPDX-License-Identifier: GPL-2.0-only
"""What the boots of one side say by themselves. Of two sides, see verdict/."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Interval = tuple[float, float]


def median_interval(values: Array, confidence: float) -> Interval | None:
    """Return the exact, distribution-free interval of the median: two of the values.

    None where none exists: for 95 % there must be six values at least.
    """
    places = _places(values.size, confidence)
    if places is None:
        return None
    ordered = np.sort(values)
    return float(ordered[places[0]]), float(ordered[places[1]])


@functools.cache
def _places(size: int, confidence: float) -> tuple[int, int] | None:
    """Return which of so many values in order bound the interval of their median.

    How many of the values lie below the median is binomial: as many are left out at either end as
    have a tail that is small enough.
    """
    tails = special.bdtr(np.arange(size), size, 0.5)
    left_out = int(np.sum(tails <= (1 - confidence) / 2))
    return (left_out - 1, size - left_out) if left_out else None

# SPDX-License-Identifier: GPL-2.0-only
"""What the boots of one side say by themselves. Of two sides, see verdict/."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    """Return which of so many values in order bound the interval of their median."""
    interval = stats.quantile_test(np.arange(size), p=0.5).confidence_interval(confidence)
    low, high = float(interval.low), float(interval.high)
    return (int(low), int(high)) if math.isfinite(low) and math.isfinite(high) else None

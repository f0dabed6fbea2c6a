# SPDX-License-Identifier: GPL-2.0-only
"""When failed allocations are a regression.

A share of failures has no ratio where it was 0. What counts is whether there are any, and whether
there are more by a stated share of the attempts.
"""

from __future__ import annotations

import math

import numpy as np

from .interval import Array, Sample, shift
from .states import State

LIMIT = 0.001  # of the attempts


def judge(base: Array, new: Array, alpha: float, limit: float = LIMIT) -> State:
    """Return the state of the share of attempts that failed, a boot a value, from 0 to 1.

    worse: the interval of the difference is above the limit, or no boot of base has failures and
    more of new have than chance explains (Fisher's exact test, one-sided). unknown: it is from none
    to some in too few boots to tell, or the interval does not exclude the limit.
    """
    change = shift(Sample(base, base), Sample(new, new), alpha)
    low, high = float(change.low), float(change.high)
    if not math.isfinite(low):
        return "unknown"
    if not np.any(base) and not np.any(new):
        return "same"
    failing = [int(np.count_nonzero(side)) for side in (base, new)]
    if low >= limit or (not failing[0] and _chance(base.size, new.size, failing[1]) <= alpha / 2):
        return "worse"
    if not failing[0]:
        return "unknown"
    return _bounded(low, high, limit)


def _bounded(low: float, high: float, limit: float) -> State:
    """Return the state of an interval that is not above the limit."""
    if -limit < low and high < limit:
        return "same"
    if high < 0:
        return "better" if high <= -limit else "better, size unclear"
    if high < limit:
        return "no worse"
    return "worse, size unclear" if low > 0 else "unknown"


def _chance(base: int, new: int, failing: int) -> float:
    """Return how likely all failing boots are of new, if which ones fail is chance."""
    return math.comb(new, failing) / math.comb(base + new, failing)

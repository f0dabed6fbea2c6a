# SPDX-License-Identifier: GPL-2.0-only
"""Whether the order in which the boots were made could be taken for a change.

What drifts in a host (its temperature, what else runs on it, its memory) looks like a change if one
side was booted earlier than the other. Times are in seconds, of the start of the first run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .interval import Array, Sample, Shift, midranks, shift

# From here on one side is earlier than the other, to such a degree that no drift can be told from a
# change. Of 6 boots a side in random order, 3 of 100 come out so; of 10, 3 of 1,000.
CONFOUNDED = 0.75
_FIRST_AMONG = 5  # boots of a side, for the first one to be remarkable


@dataclass(frozen=True)
class Order:
    """How the sides follow each other.

    together: 0 if the boots of the sides are mixed, 1 if all of new are later, -1 if all of base
    are; of any boot of one side and any of the other, the part that is in this order less the part
    that is in the other (Somers' D). None if a time is not known.
    """

    together: float | None

    @property
    def confounded(self) -> bool:
        """Return whether a drift could not be told from a change."""
        return confounded(self.together)


def confounded(together: float | None) -> bool:
    """Return whether sides that follow each other so leave a drift and a change alike."""
    return together is not None and abs(together) >= CONFOUNDED


def order(base: Sequence[float | None], new: Sequence[float | None]) -> Order:
    """Return how the boots of the sides follow each other, by the times of their starts.

    One boot a side has no order: there are only two, and one must be first.
    """
    if min(len(base), len(new)) < 2 or None in base or None in new:
        return Order(None)
    first, second = np.asarray(base, float), np.asarray(new, float)
    return Order(float(np.mean(np.sign(second[None, :] - first[:, None]))))


def shift_in_time(
    base: Sample, new: Sample, alpha: float, times: tuple[Array, Array] | None
) -> Shift:
    """Return the interval that decides: shift()'s, and without_trend()'s where times are known."""
    change = shift(base, new, alpha)
    return change if times is None else without_trend(change, base, new, times)


def without_trend(change: Shift, base: Sample, new: Sample, times: tuple[Array, Array]) -> Shift:
    """Return the interval, widened by what a drift may have made of the sides' distance in time.

    The drift is the slope of the figures over time within the sides, by least squares. Times that
    amount to nothing, and values that are not known, leave the interval as it is.
    """
    centred = [np.asarray(t, float) - np.mean(t) for t in times]
    scale = sum(float(np.sum(t**2)) for t in centred)
    if not scale:
        return change
    with np.errstate(invalid="ignore"):  # values that are not known
        slope = (base.high @ centred[0] + new.high @ centred[1]) / scale
    bias = slope * (np.mean(times[1]) - np.mean(times[0]))
    bias = np.where(np.isfinite(bias), bias, 0.0)
    low, high = change.low - np.maximum(bias, 0), change.high - np.minimum(bias, 0)
    return Shift(change.estimate, low, high)


def trend(values: Array, times: Array) -> float | None:
    """Return Spearman's rank correlation of values with time; None if there is none to have."""
    if values.size < 3 or np.any(np.isnan(values)) or not (np.ptp(values) and np.ptp(times)):
        return None
    return float(np.corrcoef(midranks(values), midranks(times))[1, 0])


def first_is_odd(values: Array, times: Array) -> bool:
    """Return whether the first boot of a side is further from its median than any other is."""
    if values.size < _FIRST_AMONG:
        return False
    with np.errstate(invalid="ignore"):
        far = np.abs(values - np.median(values))
    first = int(np.argmin(times))
    return bool(np.all(np.delete(far, first) < far[first]))

# SPDX-License-Identifier: GPL-2.0-only
"""Whether the order in which the boots were made could be taken for a change.

What drifts in a host (its temperature, what else runs on it, its memory) looks like a change if one
side was booted earlier than the other. Times are in seconds, of the start of the first run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .interval import Array, Sample, midranks

# From here on one side is earlier than the other, to such a degree that no drift can be told from a
# change. Of 6 boots a side in random order, 3 of 100 come out so; of 10, 3 of 1,000.
CONFOUNDED = 0.75
_ROUNDING = 1e-9  # logarithms: a drift over the session that is none
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


def without_trend(
    base: Sample, new: Sample, times: tuple[Array, Array] | None
) -> tuple[Sample, Sample]:
    """Return the figures less the straight trend over time that both sides share.

    The trend is the slope within the sides by least squares, as in an analysis of covariance. That
    it is not known but estimated costs a degree of freedom, and the more the further apart the mean
    times of the sides are: each side is stretched about its median by what that adds to the
    standard error of a difference. So all that is made of the figures bears it: the interval, its
    p, and the boots needed. Where one side spreads more, the slope may have cost that side alone. A
    drift that is not straight stays in the figures in part, as noise.

    Without times, with times that amount to nothing, with three boots in all, or with values that
    are not known or 0, the figures are returned as they are. The last axis is that of the boots.
    """
    boots = base.boots + new.boots
    if times is None or boots <= 3 or not (base.known and new.known):
        return base, new
    centred = [t - np.mean(t) for t in times]
    scale = sum(float(np.sum(t**2)) for t in centred)
    if not scale:
        return base, new
    slope = _slope((base.high, new.high), centred, scale, float(np.ptp(np.concatenate(times))))
    apart = float(np.mean(times[1]) - np.mean(times[0])) ** 2 / scale
    stretch = math.sqrt((1 + apart / (1 / base.boots + 1 / new.boots)) * (boots - 2) / (boots - 3))
    middle = float(np.mean(np.concatenate(times)))
    found = []
    for side, when in zip((base, new), times, strict=True):
        level = side.high - slope[..., None] * (when - middle)
        median = np.median(level, axis=-1, keepdims=True)
        level = median + stretch * (level - median)
        found.append(Sample(level, level, spent=1))
    return found[0], found[1]


def _slope(
    values: tuple[Array, Array], centred: Sequence[Array], scale: float, span: float
) -> Array:
    """Return the slope of values over time, and 0 for one that is made by rounding only."""
    slope = (values[0] @ centred[0] + values[1] @ centred[1]) / scale
    return np.asarray(np.where(np.abs(slope) * span < _ROUNDING, 0.0, slope))


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

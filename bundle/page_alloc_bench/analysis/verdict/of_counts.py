# SPDX-License-Identifier: GPL-2.0-only
"""By how much boots in which instructions were counted differ from others: between their ends."""

from __future__ import annotations

import numpy as np

from .interval import Sample, Shift

LEAST_BOOTS = 2  # a side: one boot does not tell by how much boots differ


def shift(base: Sample, new: Sample) -> Shift:
    """Return the difference of two sides as logarithms, and what it is at least and at most.

    The difference between the boots of one side is the error, and nothing is left to chance: the
    ends are those of the boots. One boot does not tell its error, so nothing bounds them.
    """
    estimate = np.asarray(np.median(new.high) - np.median(base.high))
    if min(base.boots, new.boots) < LEAST_BOOTS:
        return Shift(estimate, np.asarray(-np.inf), np.asarray(np.inf))
    low, high = new.high.min() - base.high.max(), new.high.max() - base.high.min()
    return Shift(estimate, np.asarray(low), np.asarray(high))

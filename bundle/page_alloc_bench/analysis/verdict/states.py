# SPDX-License-Identifier: GPL-2.0-only
"""What an interval says of a change, and what all of them together say of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .interval import Array

State = Literal[
    "worse",
    "worse, size unclear",
    "no worse",
    "same",
    "better, size unclear",
    "better",
    "unknown",
]
Better = Literal["higher", "lower"]

NO_REGRESSION, REGRESSION, CANNOT_TELL = range(3)

# What is left of a regression of the threshold: nothing.
NOT_WORSE: frozenset[State] = frozenset({"no worse", "same", "better, size unclear", "better"})


@dataclass(frozen=True)
class Harm:
    """An interval turned so that more is worse, and the limits that matter, all as logarithms.

    low, high: the interval of the change. worse: a change of the threshold for the worse; better:
    one for the better, which is negative.
    """

    low: Array
    high: Array
    worse: float
    better: float

    @classmethod
    def of(cls, low: Array, high: Array, threshold: float, better: Better) -> Harm:
        """Return the harm of a change; threshold: the part that matters, 0.02 for 2 %."""
        with np.errstate(divide="ignore"):
            down, up = np.log1p(-min(threshold, 1.0)), np.log1p(threshold)
        if better == "higher":
            return cls(-high, -low, float(-down), float(-up))
        return cls(low, high, float(up), float(down))


def states(harm: Harm) -> NDArray[np.str_]:
    """Return the state of each interval; none says more than the interval does.

    worse: all of it is beyond the threshold. worse, size unclear: all of it is worse, but not all
    is beyond. same: all of it is within the threshold, to either side. no worse: a regression of
    the threshold is excluded, no more is known. unknown: it holds one, and no change as well.
    """
    low, high = np.asarray(harm.low), np.asarray(harm.high)
    return np.select(
        [
            low >= harm.worse,
            high <= harm.better,
            (low > harm.better) & (high < harm.worse),
            low > 0,
            high < 0,
            high < harm.worse,
        ],
        ["worse", "better", "same", "worse, size unclear", "better, size unclear", "no worse"],
        default="unknown",
    )


def decide(found: Sequence[State], *, sound: bool, not_shown_worse: bool = False) -> int:
    """Return the exit code of a comparison whose tested metrics have these states.

    sound: nothing else forbids a verdict, such as the order of the boots or a metric that was asked
    for and is missing. not_shown_worse: be content if nothing is shown to be worse; else each
    metric must be shown to be no worse than the threshold.
    """
    if not sound or not found:
        return CANNOT_TELL
    if "worse" in found:
        return REGRESSION
    if not_shown_worse:
        return CANNOT_TELL if "worse, size unclear" in found else NO_REGRESSION
    return NO_REGRESSION if all(state in NOT_WORSE for state in found) else CANNOT_TELL

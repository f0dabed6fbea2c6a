# SPDX-License-Identifier: GPL-2.0-only
"""Whether more boots can still lead to a decision, by what was seen so far.

To stop then makes no error likelier: it can only turn a decision into "cannot tell".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from .interval import Array
from .power import MANY, boots_needed
from .states import NOT_WORSE, Better, State

FIRST = 8  # boots a side: fewer show too little of the spread
_LOW = 0.05  # of the distribution of the spread: a small one is hoped for


@dataclass(frozen=True)
class Figure:
    """What the boots show of a figure. base, new: logarithms, a boot each.

    threshold: the change that matters, 0.02 for 2 %. better: the direction that is good.
    """

    base: Array
    new: Array
    threshold: float
    better: Better
    state: State


def hopeless(figures: Sequence[Figure], most: int, alpha: float) -> bool:
    """Return whether so many boots a side, at most, will probably not decide.

    Each figure is given the benefit of the doubt: a spread at the low end of what is possible, and
    for "no worse" a change that is at most none.
    """
    open_ones = [each for each in figures if each.state not in NOT_WORSE]
    if not open_ones or min(min(f.base.size, f.new.size) for f in open_ones) < FIRST:
        return False
    return any(_boots(f, alpha, worse=False) > most for f in open_ones) and all(
        _boots(f, alpha, worse=True) > most for f in open_ones
    )


def _boots(figure: Figure, alpha: float, *, worse: bool) -> int:
    """Return the boots a side to show that it is worse, or that it is no worse."""
    sides = figure.base, figure.new
    if not all(np.all(np.isfinite(side)) for side in sides):
        return 0  # nothing is known of it
    freedom = sum(side.size for side in sides) - 2
    squares = sum(float(np.sum((side - np.mean(side)) ** 2)) for side in sides)
    spread = math.sqrt(squares / float(special.chdtri(freedom, _LOW)))
    change = float(np.median(figure.new[:, None] - figure.base[None, :]))
    limit = math.log1p(figure.threshold)
    if figure.better == "higher":
        change, limit = -change, -math.log1p(-min(figure.threshold, 0.999))
    distance = change - limit if worse else limit - min(change, 0.0)
    return boots_needed(spread, distance, 2 * alpha) if distance > 0 else MANY

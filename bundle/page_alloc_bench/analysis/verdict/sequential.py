# SPDX-License-Identifier: GPL-2.0-only
"""Look at a comparison several times while boots are added, without more errors than one look has.

By look k a part of the permitted error is spent: alpha (n / most)^2, by how many of the most boots
a side are there (Lan and DeMets, Biometrika 70, 1983). What U must be at each look then follows
from how U develops where nothing changed. That depends on no distribution, but only on how many
boots each side has at each look, and is simulated for these numbers with a fixed seed (for rank
tests with several looks see Nowak, Mütze and Konietschke, Statistical Methods in Medical Research
31, 2022).

An interval made at the level of a look holds together with those of all looks before it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import states
from .interval import Sample, Shift, least_p, shift, ways_of
from .states import Better, Harm

LOOKS = (6, 8, 10, 13, 16, 20)  # boots a side
LEAST = 4  # boots a side: with fewer nothing can be told
_DRAWS = 400_000
_AT_ONCE = 20_000
_SEED = 20
# One-sided levels at which an overall p is looked up: steps of 1.2, down to a hundred draws.
_LEVELS = tuple(0.25 * 1.2**-step for step in range(38))

Sizes = tuple[tuple[int, int], ...]


def looks(most: int) -> tuple[int, ...]:
    """Return after how many boots a side there are looks, with at most so many: 20 is usual."""
    return (*(boots for boots in LOOKS if boots < most), most)


@dataclass(frozen=True)
class Look:
    """The last look so far.

    most: boots a side there may be. made: how many had been made at each look so far. sizes: how
    many of base and of new were whole and healthy then.
    """

    most: int
    made: tuple[int, ...]
    sizes: Sizes

    def level(self, alpha: float) -> float:
        """Return the one-sided level of this look, where all looks together err by alpha."""
        spent = tuple(alpha * min(1.0, made / self.most) ** 2 for made in self.made)
        bounds = _bounds(self.sizes, spent)
        base, new = self.sizes[-1]
        return _tail(base, new, bounds[-1])

    def both(self, alpha: float) -> float:
        """Return the alpha of an interval, both of whose ends hold at all looks with 1 - alpha."""
        return 2 * self.level(alpha / 2)

    def overall(self, p: float) -> float:
        """Return the two-sided p of all looks for the two-sided p of this one, rounded up."""
        lowest = 1.0
        for alpha, level in _table(self):
            if 2 * level < p * (1 - 1e-12):
                break
            lowest = 2 * alpha
        return min(1.0, lowest)


@functools.cache
def _table(look: Look) -> tuple[tuple[float, float], ...]:
    return tuple((alpha, look.level(alpha)) for alpha in _LEVELS)


def _tail(base: int, new: int, bound: int) -> float:
    """Return the chance that U is at most so much; 0 for a bound below 0."""
    if bound < 0:
        return 0.0
    ways = ways_of(base, new)
    return float(np.sum(ways[: bound + 1]) / np.sum(ways))


@functools.cache
def _bounds(sizes: Sizes, spent: tuple[float, ...]) -> tuple[int, ...]:
    """Return the largest U at each look that rejects, one-sided; -1 where none does.

    spent: the error that is permitted up to each look.
    """
    base, new = sizes[0]
    exact = np.cumsum(ways_of(base, new)) / np.sum(ways_of(base, new))
    found = [int(np.searchsorted(exact, spent[0] * (1 + 1e-12), side="right")) - 1]
    if len(sizes) == 1:
        return tuple(found)
    drawn = _drawn(sizes)
    alive = drawn[0] > found[0]
    for u, total in zip(drawn[1:], spent[1:], strict=True):
        room = round(total * _DRAWS) - int(_DRAWS - np.count_nonzero(alive))
        counts = np.cumsum(np.bincount(u[alive]))
        found.append(int(np.searchsorted(counts, room, side="right")) - 1 if room > 0 else -1)
        alive &= u.astype(np.int64) > found[-1]
    return tuple(found)


@functools.lru_cache(maxsize=4)
def _drawn(sizes: Sizes) -> list[NDArray[np.uint16]]:
    """Return U at each look of many campaigns in which nothing changed."""
    rng = np.random.default_rng(_SEED)
    found = [np.empty(_DRAWS, np.uint16) for _ in sizes]
    most = max(base for base, _ in sizes), max(new for _, new in sizes)
    for start in range(0, _DRAWS, _AT_ONCE):
        values = [rng.random((_AT_ONCE, boots), dtype=np.float32) for boots in most]
        u = np.zeros(_AT_ONCE, np.uint16)
        done = (0, 0)
        for place, (base, new) in enumerate(sizes):
            left, right = values[0][:, : max(base, done[0])], values[1]
            for boot in range(done[1], new):
                u += np.count_nonzero(left[:, :base] > right[:, boot, None], axis=1).astype(u.dtype)
            for boot in range(done[0], base):
                older = right[:, : min(done[1], new)]
                u += np.count_nonzero(left[:, boot, None] > older, axis=1).astype(u.dtype)
            found[place][start : start + _AT_ONCE] = u
            done = (base, new)
    return found


@dataclass(frozen=True)
class Judged:
    """What a look shows of one figure, or of many at once.

    change: the end of its interval for the worse holds alone, all other ends hold together. state:
    as states() has it.
    """

    change: Shift
    state: NDArray[np.str_]


def judge(
    sides: tuple[Sample, Sample],
    limit: tuple[float, Better],
    levels: tuple[float, float],
) -> Judged:
    """Return what a look shows of figures.

    limit: the change that matters, 0.02 for 2 %, and the direction that is good. levels: the alpha
    of an interval that holds together with all others, and of one whose ends hold alone. That none
    is worse takes no correction for their number: all must be shown (an intersection-union test).
    """
    together, alone = (shift(*sides, alpha) for alpha in levels)
    threshold, better = limit
    if better == "higher":
        change = Shift(together.estimate, np.maximum(together.low, alone.low), together.high)
    else:
        change = Shift(together.estimate, together.low, np.minimum(together.high, alone.high))
    sure = states.states(Harm.of(together.low, together.high, threshold, better))
    found = states.states(Harm.of(change.low, change.high, threshold, better))
    # An end that holds alone says that nothing is worse; of an improvement it says nothing.
    gains = ["better", "better, size unclear"]
    unsure = np.isin(found, gains) & ~np.isin(sure, gains)
    return Judged(change, np.where(unsure, "no worse", found))


def look(most: int, numbers: Sequence[tuple[int, int, int]]) -> Look:
    """Return the look after these: of each the boots made a side, and those of base and new."""
    made = tuple(each[0] for each in numbers)
    return Look(most, made, tuple((base, new) for _, base, new in numbers))


def least_boots(alpha: float, most: int) -> int:
    """Return after how many boots a side an interval of a first look has bounds at all.

    most: boots a side that there may be; where they are too few, more than that is returned.
    """
    boots = 2
    while least_p(boots, boots) > alpha * min(1.0, boots / most) ** 2:
        boots += 1
    return boots

# SPDX-License-Identifier: GPL-2.0-only
"""Under what conditions verdicts are tried: how figures scatter, and how boots were made.

Figures are made as logarithms, in units of the standard deviation from boot to boot. None of these
has a change in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from page_alloc_bench.analysis.verdict.interval import Array

Noise = Callable[[np.random.Generator, tuple[int, ...]], Array]
Course = Callable[[Array], Array]  # from the part of the session that is over, 0 to 1


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return log-normal noise: as logarithms, so that the figures are more skewed still."""
    shape_of = 0.6
    values = rng.lognormal(0, shape_of, shape)
    mean, square = np.exp(shape_of**2 / 2), np.exp(shape_of**2)
    return np.asarray((values - mean) / (mean * np.sqrt(square - 1)))


def bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return noise around two levels, three boots of ten being at the upper one."""
    values = rng.normal(0, 0.3, shape) + 2 * (rng.random(shape) < 0.3)
    return np.asarray((values - 0.6) / np.sqrt(0.3**2 + 4 * 0.21))


def tied(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return normal noise read by steps of half a standard deviation."""
    return np.round(rng.normal(size=shape) * 2) / 2


def straight(over: Array) -> Array:
    return over


def halfway(over: Array) -> Array:
    """Return a host that changes once, in the middle of the session."""
    return np.asarray(over >= 0.5, float)


@dataclass(frozen=True)
class Scenario:
    """How two sides are made.

    wide: how much more the boots of new spread. sizes: of base and new; None for n each. metrics:
    how many are tested together; each pair of them is correlated by 0.5. drift: over the session,
    which runs this course. sequence: in which order the boots are made. boot_sd: the standard
    deviation from boot to boot where each side has n runs of fewer boots, against 1 from run to
    run; runs_a_boot: of them.
    """

    name: str
    noise: Noise = normal
    wide: float = 1.0
    sizes: tuple[int, int] | None = None
    metrics: int = 1
    drift: float = 0.0
    course: Course = straight
    sequence: str = "random"
    boot_sd: float = 0.0
    runs_a_boot: int = 1

    def boots(self, n: int) -> tuple[int, int]:
        """Return how many boots each side has."""
        return self.sizes or (n // self.runs_a_boot, n // self.runs_a_boot)

    def sides(self, rng: np.random.Generator, boots: tuple[int, int]) -> Array:
        """Return the side of each boot in the order of time, 0 for base."""
        a, b = boots
        if self.sequence == "one side first":
            return np.repeat([0, 1], [a, b])
        if self.sequence == "blocks":
            return np.tile([0, 1, 1, 0], a)[: a + b]
        return rng.permutation(np.repeat([0, 1], [a, b]))

    def draw(
        self, rng: np.random.Generator, repetitions: int, n: int
    ) -> tuple[list[Array], list[Array]]:
        """Return the logarithms of each side, and the times of its boots.

        Shape of the former: repetitions, metrics, boots or runs.
        """
        boots = self.boots(n)
        sides = self.sides(rng, boots)
        times = np.arange(sides.size, dtype=float)
        shape = (repetitions, self.metrics, sides.size)
        values = self.noise(rng, shape)
        if self.metrics > 1:
            shared = self.noise(rng, (repetitions, 1, sides.size))
            values = (values + shared) / np.sqrt(2)
        values = values * np.where(sides == 1, self.wide, 1.0)
        values = values + self.drift * self.course(times / (times.size - 1))
        parts = [values[..., sides == side] for side in (0, 1)]
        if self.runs_a_boot > 1:
            parts = [
                np.repeat(part * self.boot_sd, self.runs_a_boot, axis=-1)
                + rng.normal(size=(*part.shape[:-1], part.shape[-1] * self.runs_a_boot))
                for part in parts
            ]
        return parts, [times[sides == side] for side in (0, 1)]


PLAIN = Scenario("normal")
FAMILY = 10  # metrics that are tested by default, of two orders
SIZES = (4, 6, 8, 10, 20)

_ONE = (
    PLAIN,
    Scenario("ties: read by steps of 0.5 sd", tied),
    Scenario("log-normal", skewed),
    Scenario("bimodal", bimodal),
    Scenario("new spreads 3 times as much", wide=3),
    Scenario("new spreads 5 times as much", wide=5),
    Scenario("drift of 1 sd, blocks A B B A", drift=1, sequence="blocks"),
    Scenario("drift of 2 sd, blocks A B B A", drift=2, sequence="blocks"),
    Scenario("drift of 4 sd, blocks A B B A", drift=4, sequence="blocks"),
    Scenario("drift of 2 sd, random order", drift=2),
    Scenario("drift of 4 sd, random order", drift=4),
    Scenario("a step of 2 sd halfway, random order", drift=2, course=halfway),
)
# What decides by default is many figures, so each of these is tried with them too.
TOGETHER = tuple(replace(one, name=f"ten metrics, {one.name}", metrics=FAMILY) for one in _ONE)
ALIKE = (*_ONE, *TOGETHER)
UNEQUAL = tuple(
    replace(PLAIN, name=f"{a} against {b}, new spreads {wide:g} times as much"
            if wide > 1 else f"{a} against {b}", sizes=(a, b), wide=wide)
    for a, b in ((20, 6), (50, 6)) for wide in (1.0, 3.0, 5.0)
)  # fmt: skip
FIRST = tuple(
    Scenario(f"drift of {sd} sd, A ... A B ... B", drift=sd, sequence="one side first")
    for sd in (0, 1, 2, 4)
)
CLUSTERED = tuple(
    Scenario(f"{boots} of {runs} runs a side", boot_sd=1.5, runs_a_boot=runs)
    for boots, runs in (("1 boot", 10), ("2 boots", 5), ("5 boots", 2))
)

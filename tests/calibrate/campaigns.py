# SPDX-License-Identifier: GPL-2.0-only
"""How often campaigns that stop early are right, where the truth is known: looks, power, boots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from calibrate.scenarios import PLAIN, Scenario, skewed, tied
from page_alloc_bench.analysis.verdict import futility, order, sequential, states
from page_alloc_bench.analysis.verdict.interval import Array, Sample

ALPHA = 0.05
MOST = 20
METRICS = 16
_UNIT = 0.01  # a standard deviation, as logarithm
_SMALL = 1e-6  # standard deviations: a threshold below which nothing is the same
_AT_ONCE = 250  # campaigns whose boots are in one order


@dataclass(frozen=True)
class Truth:
    """What is tried. threshold, moved: in standard deviations; moved: by how much it became worse.

    of: how many of the metrics did. to_the_end: stop neither for futility nor for no regression.
    """

    name: str
    scenario: Scenario
    moved: float = 0.0
    of: int = 1
    threshold: float = _SMALL
    to_the_end: bool = False


@dataclass(frozen=True)
class Outcome:
    """Parts of the campaigns, and boots a side. early: a regression is found within 12 boots.

    claimed: anything is called worse or better at the last look.
    """

    regression: float
    early: float
    no_regression: float
    futile: float
    claimed: float
    boots: float


_NOISES = (
    replace(PLAIN, metrics=METRICS),
    Scenario("ties: read by steps of 0.5 sd", tied, metrics=METRICS),
    Scenario("log-normal", skewed, metrics=METRICS),
    Scenario("new spreads 3 times as much", wide=3, metrics=METRICS),
    Scenario("drift of 2 sd", drift=2, metrics=METRICS),
)


def truths() -> Iterator[Truth]:
    """Yield what the table tells, in its order."""
    for noise in _NOISES:
        yield Truth(f"{noise.name}, no change", noise, to_the_end=True)
    for noise in _NOISES:
        yield Truth(f"{noise.name}, all worse by the threshold", noise, 2, METRICS, 2)
    plain = _NOISES[0]
    for moved in (1.0, 1.5, 2.0, 3.0):
        yield Truth(f"one metric worse by {moved:g} sd", plain, moved)
        yield Truth(f"all metrics worse by {moved:g} sd", plain, moved, METRICS)
    for threshold in (0.5, 1.0, 2.0, 3.0):
        yield Truth(f"no change, threshold {threshold:g} sd", plain, threshold=threshold)


def measure(truth: Truth, repetitions: int, seed: int = 1) -> Outcome:
    """Return what came of so many campaigns."""
    rng = np.random.default_rng([seed, 3])
    sets = max(1, repetitions // _AT_ONCE)
    found = [_campaigns(truth, repetitions // sets, rng) for _ in range(sets)]
    return Outcome(*(float(np.mean(part)) for part in zip(*found, strict=True)))


def _blocks(rng: np.random.Generator) -> Array:
    """Return the side of each boot, in random blocks of two and two."""
    return np.concatenate([rng.permutation([0, 0, 1, 1]) for _ in range(MOST // 2)])


def _campaigns(truth: Truth, number: int, rng: np.random.Generator) -> tuple[float, ...]:
    sides, times = _drawn(truth, number, rng)
    limit = float(np.expm1(truth.threshold * _UNIT))
    code = np.full(number, states.CANNOT_TELL)
    last = np.full(number, MOST)
    futile, claimed = np.zeros(number, bool), np.zeros(number, bool)
    going = np.arange(number)
    for place, boots in enumerate(sequential.LOOKS):
        seen = [side[going, :, :boots] * _UNIT for side in sides]
        samples = order.without_trend(
            Sample(seen[0], seen[0]), Sample(seen[1], seen[1]), (times[0][:boots], times[1][:boots])
        )
        look = sequential.look(MOST, [(n, n, n) for n in sequential.LOOKS[: place + 1]])
        judged = sequential.judge(
            samples,
            (limit, "lower"),
            (look.both(ALPHA / METRICS), 2 * look.level(ALPHA)),
        )
        found = np.array([states.decide(list(row), sound=True) for row in judged.state])
        claims = [s for s in np.unique(judged.state) if s.startswith(("worse", "better"))]
        claimed[going] = np.any(np.isin(judged.state, claims), axis=-1)
        done = found != states.CANNOT_TELL
        if truth.to_the_end:
            done = claimed[going]
        elif boots < MOST:
            hopeless = _hopeless([each.high for each in samples], judged.state, limit) & ~done
            futile[going[hopeless]] = True
            done |= hopeless
        code[going[done]], last[going[done]] = found[done], boots
        going = going[~done]
        if not going.size:
            break
    bad, good = code == states.REGRESSION, code == states.NO_REGRESSION
    parts = (bad, bad & (last <= 12), good, futile, claimed, last)
    return tuple(float(np.mean(part)) for part in parts)


def _drawn(truth: Truth, number: int, rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """Return the logarithms of each side by campaign, metric and boot, and their times."""
    order = _blocks(rng)
    scenario = truth.scenario
    shape = (number, METRICS, order.size)
    values = (scenario.noise(rng, shape) + scenario.noise(rng, (number, 1, order.size))) / 2**0.5
    values = values * np.where(order == 1, scenario.wide, 1.0)
    when = np.arange(order.size, dtype=float)
    values = values + scenario.drift * when / (when.size - 1)
    values[:, : truth.of, order == 1] += truth.moved
    return [values[..., order == side] for side in (0, 1)], [when[order == side] for side in (0, 1)]


def _hopeless(seen: list[Array], found: Array, limit: float) -> Array:
    """Return of which campaigns nothing more is to be had."""
    return np.array([
        futility.hopeless([
            futility.Figure(base, new, limit, "lower", state)
            for base, new, state in zip(bases, news, states_of, strict=True)
        ], MOST, ALPHA)
        for bases, news, states_of in zip(*seen, found, strict=True)
    ])  # fmt: skip

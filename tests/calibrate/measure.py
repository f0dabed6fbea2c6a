# SPDX-License-Identifier: GPL-2.0-only
"""How often the decisions of the analysis are right, in scenarios where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibrate.scenarios import Scenario
from page_alloc_bench.analysis.verdict import interval, observations, order, states
from page_alloc_bench.analysis.verdict.interval import Array, Sample, Shift

CONFIDENCE = 0.95
CHANGES = (1.0, 1.5, 2.0, 3.0)  # standard deviations
THRESHOLD = 2.0  # standard deviations: where a false "same" is looked for
_UNIT = 0.01  # a standard deviation, as logarithm
_AT_ONCE = 500  # repetitions
_SMALL = 1e-6  # standard deviations: a threshold below which nothing is the same


@dataclass(frozen=True)
class Rates:
    """Parts of the repetitions. coverage: all intervals hold the truth.

    worse, better: something is called so, of a clear size or not, though nothing changed. same:
    something is called "same", "no worse" or better, though all became worse by THRESHOLD. power:
    what changed by so much is called worse. told: the order of the boots and their number allow a
    verdict.
    """

    coverage: float
    worse: float
    better: float
    same: float
    power: tuple[float, ...]
    told: float


def measure(scenario: Scenario, n: int, repetitions: int, seed: int = 1) -> Rates:
    """Return how the decisions fare with n boots a side, by so many repetitions.

    They are made in sets of up to _AT_ONCE: the boots of each set are in one order.
    """
    rng = np.random.default_rng([seed, n])
    sets = max(1, repetitions // _AT_ONCE)
    found = [_measure(scenario, n, repetitions // sets, rng) for _ in range(sets)]
    powers = [rates.power for rates in found]
    means = {
        name: float(np.mean([getattr(rates, name) for rates in found]))
        for name in ("coverage", "worse", "better", "same", "told")
    }
    return Rates(**means, power=tuple(float(np.mean(p)) for p in zip(*powers, strict=True)))


def level(scenario: Scenario, n: int) -> float | None:
    """Return how often the exact interval of so many boots covers the truth, by theory.

    That is where all figures differ, and nothing widens it. None where several metrics correlate,
    of which it says nothing, and where too few boots have no interval.
    """
    boots = scenario.boots(n)
    k = interval.critical(*boots, 1 - CONFIDENCE)
    if scenario.metrics > 1 or not k:
        return None
    ways = np.cumsum(interval.ways_of(*boots))
    return float(1 - 2 * ways[k - 1] / ways[-1])


def _measure(scenario: Scenario, n: int, repetitions: int, rng: np.random.Generator) -> Rates:
    sides, times = scenario.draw(rng, repetitions, n)
    samples = [_sample(side * _UNIT, scenario) for side in sides]
    alpha = (1 - CONFIDENCE) / scenario.metrics
    sizes = [sample.boots for sample in samples]
    confounded = order.order(*map(list, times)).confounded
    told = interval.critical(*sizes, alpha) > 0 and not confounded
    tested = order.without_trend(*samples, (times[0], times[1]))
    change = interval.shift(*tested, alpha)
    inside = (change.low <= 0) & (change.high >= 0)
    nothing = _states(change, 0.0, _SMALL)
    at_limit = _states(change, THRESHOLD, THRESHOLD)
    return Rates(
        coverage=float(np.mean(np.all(inside, axis=-1))),
        worse=told * _any(nothing, ("worse", "worse, size unclear")),
        better=told * _any(nothing, ("better", "better, size unclear")),
        same=told * _any(at_limit, sorted(states.NOT_WORSE)),
        power=tuple(told * _worse(_states(change, sd, _SMALL)) for sd in CHANGES),
        told=told,
    )


def _sample(logs: Array, scenario: Scenario) -> Sample:
    values = np.exp(logs)
    of_run = np.repeat(np.arange(logs.shape[-1] // scenario.runs_a_boot), scenario.runs_a_boot)
    return observations.averaged(values, values, [int(boot) for boot in of_run])


def _states(change: Shift, moved: float, threshold: float) -> Array:
    """Return the states had everything changed by so many standard deviations for the worse.

    threshold: in standard deviations.
    """
    limit = float(np.expm1(threshold * _UNIT))
    low, high = change.low + moved * _UNIT, change.high + moved * _UNIT
    return np.asarray(states.states(states.Harm.of(low, high, limit, "lower")))


def _any(found: Array, words: Sequence[str]) -> float:
    """Return how often any metric is called one of the words."""
    return float(np.mean(np.any(np.isin(found, words), axis=-1)))


def _worse(found: Array) -> float:
    """Return how often the first metric is called worse."""
    return float(np.mean(np.isin(found[..., 0], ["worse", "worse, size unclear"])))

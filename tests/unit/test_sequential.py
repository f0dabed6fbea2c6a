# SPDX-License-Identifier: GPL-2.0-only
"""Several looks err no more often than one: boundaries, and a short part of scripts/calibrate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from calibrate import bounds, campaigns, scenarios
from calibrate.campaigns import ALPHA, METRICS, Truth
from page_alloc_bench.analysis.verdict import futility, interval, sequential

CAMPAIGNS = 250
PLAIN = replace(scenarios.PLAIN, metrics=METRICS)


def most(rate: float) -> float:
    """What chance stays below in 999 of 1,000 runs."""
    return float(stats.binom.isf(0.001, CAMPAIGNS, rate)) / CAMPAIGNS


def look(number: int) -> sequential.Look:
    return sequential.look(20, [(boots, boots, boots) for boots in sequential.LOOKS[:number]])


def test_looks_end_with_the_last_boot() -> None:
    assert sequential.looks(20) == (6, 8, 10, 13, 16, 20)
    assert sequential.looks(9) == (6, 8, 9)
    assert sequential.looks(4) == (4,)


def test_a_level_is_that_of_an_exact_test_and_grows_with_the_boots() -> None:
    first = look(1)
    # Of 924 orders of six and six boots, 4 may be taken for 0.05 * 0.09.
    assert first.level(0.05) == pytest.approx(4 / 924)
    assert first.level(0.05 / 16) == 0
    levels = [look(number).level(0.05) for number in (1, 2, 3)]
    assert levels == sorted(levels)
    assert levels[-1] < 0.05 * 0.25 + 1e-9


def test_a_single_look_at_the_end_is_the_usual_test() -> None:
    only = sequential.look(10, [(10, 10, 10)])
    assert interval.critical(10, 10, only.both(0.05)) == interval.critical(10, 10, 0.05)


def test_looks_of_unequal_sizes_err_as_seldom_as_they_say() -> None:
    """Independent of the simulation in the product: other draws, and U by ranks."""
    sizes = [(6, 5), (8, 7), (11, 9)]
    made = [sequential.look(20, [(n, *s) for n, s in zip((6, 8, 11), sizes[:k], strict=False)])
            for k in (1, 2, 3)]  # fmt: skip
    alpha, draws = 0.25, 20_000
    rng = np.random.default_rng(99)
    base, new = rng.normal(size=(2, draws, 11))
    rejected = np.zeros(draws, bool)
    for each, (b, n) in zip(made, sizes, strict=True):
        ranks = stats.rankdata(np.concatenate([base[:, :b], new[:, :n]], axis=1), axis=1)
        u = ranks[:, b:].sum(axis=1) - n * (n + 1) / 2
        level = each.level(alpha)
        bound = max((k for k in range(b * n + 1) if _tail(b, n, k) <= level * (1 + 1e-9)),
                    default=-1)  # fmt: skip
        rejected |= u <= bound
        spent = alpha * (each.made[-1] / 20) ** 2
        rate = float(np.mean(rejected))
        assert rate <= spent + 4 * np.sqrt(spent / draws)
    assert rate > 0.7 * spent


def _tail(base: int, new: int, u: int) -> float:
    """The chance of U of at most u, by counting."""
    counts = {0: {0: 1}}
    for rank in range(base + new):
        grown: dict[int, dict[int, int]] = {}
        for taken, sums in counts.items():
            for total, ways in sums.items():
                for more in (0, 1):
                    if taken + more <= new:
                        place = grown.setdefault(taken + more, {})
                        key = total + more * (rank - taken)
                        place[key] = place.get(key, 0) + ways
        counts = grown
    ways = counts[new]
    return sum(w for total, w in ways.items() if total <= u) / sum(ways.values())


def test_the_p_of_all_looks_agrees_with_their_levels() -> None:
    for p in (0.0005, 0.004, 0.03):
        overall = look(3).overall(p)
        assert overall > p
        assert look(3).both(overall * 1.01) >= p * 0.999
    assert look(3).overall(0.9) == 1


def test_no_change_is_seldom_taken_for_one_at_any_look() -> None:
    found = campaigns.measure(Truth("", PLAIN, to_the_end=True), CAMPAIGNS)
    assert found.claimed <= most(ALPHA)


def test_one_worse_metric_is_found_early() -> None:
    found = campaigns.measure(Truth("", PLAIN, 2.0), CAMPAIGNS)
    assert found.regression >= 0.95
    assert found.boots <= 14


def test_no_stop_rule_finds_one_of_sixteen_within_twelve_boots_as_often_as_all_boots_do() -> None:
    """So that the mean of the boots, not their largest number, is what can be asked for."""
    for power in (bounds.ranks, bounds.student):
        assert power(12, 16) < 0.95 <= power(14, 16)
        assert power(12, 6) >= 0.95
    assert bounds.ranks(12, 16) < bounds.student(12, 16)


def test_all_worse_by_just_the_threshold_is_seldom_called_good() -> None:
    found = campaigns.measure(Truth("", PLAIN, 2.0, METRICS, 2.0), CAMPAIGNS)
    assert found.no_regression <= most(ALPHA)
    assert found.regression <= most(ALPHA / 2)


def figure(change: float, spread: float, threshold: float, boots: int = 8) -> futility.Figure:
    rng = np.random.default_rng(5)
    sides = [np.sort(rng.normal(0, 1, boots)) for _ in range(2)]
    base, new = ((side - side.mean()) / side.std(ddof=1) * spread for side in sides)
    return futility.Figure(base, new + change, threshold, "lower", "unknown")


def test_futile_is_what_no_number_of_boots_left_can_decide() -> None:
    assert futility.hopeless([figure(0.0, 0.1, 0.02)], 20, ALPHA)
    assert not futility.hopeless([figure(0.0, 0.01, 0.02)], 20, ALPHA)
    assert not futility.hopeless([figure(0.3, 0.1, 0.02)], 20, ALPHA)
    assert not futility.hopeless([figure(0.0, 0.1, 0.02, boots=6)], 20, ALPHA)

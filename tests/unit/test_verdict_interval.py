# SPDX-License-Identifier: GPL-2.0-only
"""The test and the interval of a verdict agree with tables, scipy, and their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from page_alloc_bench.analysis.verdict import interval
from page_alloc_bench.analysis.verdict.interval import Array, Sample


def logs(*values: float) -> Sample:
    array = np.array(values, float)
    return Sample(array, array)


# The largest U that is significant at 5 %, two-sided (Mann and Whitney's table; Siegel, table K).
CRITICAL_U = {
    (4, 4): 0, (5, 5): 2, (6, 6): 5, (8, 8): 13, (10, 10): 23, (15, 15): 64, (20, 20): 127,
    (4, 10): 5, (6, 9): 10, (8, 20): 41, (10, 12): 29,
}  # fmt: skip


@pytest.mark.parametrize(("sizes", "u"), CRITICAL_U.items())
def test_the_bounds_of_the_interval_are_where_the_tables_have_them(
    sizes: tuple[int, int], u: int
) -> None:
    assert interval.critical(*sizes, 0.05) == u + 1
    assert interval.critical(*reversed(sizes), 0.05) == u + 1


@pytest.mark.parametrize("boots", [25, 40, 60])
def test_for_more_boots_than_the_tables_have_the_bounds_are_those_of_scipy(boots: int) -> None:
    values = np.arange(2.0 * boots)
    k = interval.critical(boots, boots, 0.05)
    for u, significant in ((k - 1, True), (k, False)):
        below, rest = divmod(u, boots)  # a new side with u pairs the other way round
        new = values[boots:].copy()
        new[:below] = -1 - np.arange(below)
        if rest:
            new[below] = values[boots - rest] - 0.5
        p = stats.mannwhitneyu(new, values[:boots], method="exact").pvalue
        assert (p <= 0.05) == significant


# Hollander and Wolfe, Nonparametric Statistical Methods, example 4.1 (permeability constants of the
# chorioamnion), as R's documentation of wilcox.test() has it.
TERM = (0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46)
EARLY = (1.15, 0.88, 0.90, 0.74, 1.21)


def test_a_published_example_comes_out_as_published() -> None:
    change = interval.shift(logs(*EARLY), logs(*TERM), 0.05)
    assert float(change.estimate) == pytest.approx(0.305)
    # Without Welch's part: the sizes are 10 and 5.
    k = interval.critical(5, 10, 0.05)
    ordered = sorted(t - e for t in TERM for e in EARLY)
    assert (ordered[k - 1], ordered[-k]) == pytest.approx((-0.15, 0.76))
    assert float(change.low) <= -0.15 + 1e-9
    assert float(change.high) >= 0.76 - 1e-9
    assert interval.u_test(logs(*EARLY), logs(*TERM)) == pytest.approx(0.2544, abs=5e-5)


@pytest.mark.parametrize("seed", [0, 4, 5, 6])
def test_the_interval_holds_what_the_test_does_not_reject_and_nothing_else(seed: int) -> None:
    """Shift one side until scipy's exact test says that the sides differ."""
    rng = np.random.default_rng(seed)
    base, new = rng.normal(size=12), rng.normal(0.5, 1, 13)
    assert 0.67 < np.std(base, ddof=1) / np.std(new, ddof=1) < 1.5  # or the interval is wider
    change = interval.shift(logs(*base), logs(*new), 0.05)

    def rejected(moved: float) -> bool:
        return float(stats.mannwhitneyu(new - moved, base, method="exact").pvalue) <= 0.05

    for bound, outwards in ((float(change.low), -1e-9), (float(change.high), 1e-9)):
        assert rejected(bound + outwards)
        assert not rejected(bound - outwards)


def by_definition(base: Array, new: Array) -> float:
    """Return the two-sided p of U by going through all ways to share out the values."""
    together = np.concatenate([base, new])

    def distance(chosen: tuple[int, ...]) -> float:
        inside, outside = together[list(chosen)], np.delete(together, list(chosen))
        u = np.sum(inside[:, None] > outside) + np.sum(inside[:, None] == outside) / 2
        return abs(float(u) - inside.size * outside.size / 2)

    seen = distance(tuple(range(base.size)))
    ways = [distance(c) for c in itertools.combinations(range(together.size), base.size)]
    return sum(way >= seen for way in ways) / len(ways)


@pytest.mark.parametrize("seed", range(8))
def test_p_is_exact_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 5, rng.integers(3, 7)).astype(float)
    new = rng.integers(0, 6, rng.integers(3, 7)).astype(float)
    assert interval.u_test(logs(*base), logs(*new)) == pytest.approx(by_definition(base, new))


def test_p_is_exact_with_ties_up_to_20_a_side() -> None:
    """At this size only chance can go through the ways to share out: half a million of them."""
    rng = np.random.default_rng(3)
    base, new = np.round(rng.normal(size=(2, 20)) * 2)
    new += 0.5 * (rng.random(20) < 0.9)
    ranks = stats.rankdata(np.concatenate([base, new]))
    drawn = rng.permuted(np.tile(ranks, (500_000, 1)), axis=1)[:, :20].sum(axis=1)
    middle = 20 * 41 / 2
    simulated = np.mean(np.abs(drawn - middle) >= abs(ranks[20:].sum() - middle))
    p = interval.u_test(logs(*base), logs(*new))
    assert 0.01 < p < 0.2
    assert p == pytest.approx(simulated, rel=0.02)
    asymptotic = stats.mannwhitneyu(base, new, method="asymptotic").pvalue
    assert p != pytest.approx(asymptotic, rel=1e-3)


@pytest.mark.parametrize("sizes", [(4, 4), (6, 9), (20, 20), (50, 60)])
def test_p_without_ties_is_that_of_scipy(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sizes)
    base, new = rng.normal(size=sizes[0]), rng.normal(0.4, 1, sizes[1])
    expected = stats.mannwhitneyu(new, base, method="exact").pvalue
    assert interval.u_test(logs(*base), logs(*new)) == pytest.approx(expected, rel=1e-9)


def test_beyond_20_a_side_with_ties_p_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    base, new = rng.integers(0, 9, (2, 30)).astype(float)
    expected = stats.mannwhitneyu(new, base, method="asymptotic").pvalue
    assert interval.u_test(logs(*base), logs(*new)) == pytest.approx(expected)


def test_sides_of_one_value_do_not_differ() -> None:
    ones = logs(1, 1, 1, 1, 1, 1)
    assert interval.u_test(ones, ones) == 1
    change = interval.shift(ones, ones, 0.05)
    assert (float(change.estimate), float(change.low), float(change.high)) == (0, 0, 0)


@pytest.mark.parametrize(("boots", "alpha"), [(3, 0.05), (4, 0.005), (5, 0.005), (1, 0.5)])
def test_too_few_boots_have_no_interval(boots: int, alpha: float) -> None:
    side = logs(*np.arange(float(boots)))
    change = interval.shift(side, logs(*(side.low + 100)), alpha)
    assert (change.low, change.high) == (-np.inf, np.inf)
    assert interval.least_boots(alpha) > boots
    assert interval.critical(interval.least_boots(alpha), interval.least_boots(alpha), alpha)


def test_a_value_below_the_clock_is_known_only_to_be_less() -> None:
    """Six boots of less than 1 µs, six of 4 µs: at least 4 times, and no more is known."""
    hidden = Sample(np.full(6, -np.inf), np.full(6, math.log(1000)))
    slow = Sample.of(np.array([4000.0, 4100, 4200, 4300, 4400, 4500]))
    change = interval.shift(hidden, slow, 0.05)
    assert np.isnan(change.estimate)
    assert math.exp(change.low) >= 4
    assert change.high == np.inf
    assert interval.u_test(hidden, slow) == pytest.approx(2 / math.comb(12, 6))
    both = interval.shift(hidden, hidden, 0.05)
    assert (both.low, both.high) == (-np.inf, np.inf)
    assert interval.u_test(hidden, hidden) == 1


def test_a_value_that_is_below_the_other_sides_clock_is_a_tie() -> None:
    """200 ns, read by a finer clock, is not surely less than what a coarse one reads as < 1 µs."""
    coarse = Sample(np.full(6, -np.inf), np.full(6, math.log(1000)))
    fine = Sample.of(np.array([200.0, 201, 202, 203, 204, 205]))
    assert interval.u_test(coarse, fine) == 1
    assert interval.shift(coarse, fine, 0.05).low < 0


def test_an_interval_of_zeros_is_no_number_out_of_nothing() -> None:
    zeros, some = Sample.of(np.zeros(6)), Sample.of(np.arange(1.0, 7))
    assert interval.shift(zeros, zeros, 0.05).high == 0
    assert interval.shift(zeros, some, 0.05).low == np.inf


def test_many_sides_at_once_are_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    base, new = rng.normal(size=(3, 4, 7)), rng.normal(size=(3, 4, 12))
    change = interval.shift(Sample(base, base), Sample(new, new), 0.05)
    one = interval.shift(logs(*base[2, 1]), logs(*new[2, 1]), 0.05)
    assert (change.low[2, 1], change.high[2, 1]) == (one.low, one.high)
    assert change.estimate[2, 1] == one.estimate


@pytest.mark.parametrize(("small", "large"), [(1.0, 5.0), (5.0, 1.0), (1.4, 1.0)])
def test_where_sides_are_unequal_the_interval_reaches_as_far_as_welchs(
    small: float, large: float
) -> None:
    """Where the spreads are clearly unequal, or the smaller side spreads no less."""
    rng = np.random.default_rng(4)
    base, new = rng.normal(0, large, 20), rng.normal(0, small, 6)
    change = interval.shift(logs(*base), logs(*new), 0.05)
    welch = stats.ttest_ind(new, base, equal_var=False).confidence_interval(0.95)
    assert change.low <= welch.low + 1e-9
    assert change.high >= welch.high - 1e-9


def test_a_smaller_side_that_spreads_no_more_needs_no_wider_interval() -> None:
    rng = np.random.default_rng(4)
    base, new = rng.normal(0, 1, 20), rng.normal(0, 1, 6)
    assert 1 / 1.5 < np.std(new) / np.std(base) < 1
    change = interval.shift(logs(*base), logs(*new), 0.05)
    differences = np.sort(np.subtract.outer(new, base).ravel())
    k = interval.critical(20, 6, 0.05)
    assert (change.low, change.high) == pytest.approx((differences[k - 1], differences[-k]))


def test_holm_agrees_with_published_examples() -> None:
    assert interval.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert interval.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx(
        [0.05, 0.08, 0.09, 0.09, 0.09]
    )
    assert interval.holm([]) == []

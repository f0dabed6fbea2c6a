# SPDX-License-Identifier: GPL-2.0-only
"""What intervals, orders of boots, failures and spreads say, and what they must not say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from page_alloc_bench.analysis.verdict import failures, interval, observations, order, power, states
from page_alloc_bench.analysis.verdict.interval import Sample
from page_alloc_bench.analysis.verdict.observations import Start
from page_alloc_bench.analysis.verdict.states import CANNOT_TELL, NO_REGRESSION, REGRESSION


def state(low_percent: float, high_percent: float, better: states.Better = "lower") -> str:
    """Return the state of a change in this interval, the threshold being 2 %."""
    low, high = (np.array(math.log1p(percent / 100)) for percent in (low_percent, high_percent))
    return str(states.states(states.Harm.of(low, high, 0.02, better)))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (2.1, 5, "worse"),
        (0.1, 5, "worse, size unclear"),
        (-1.9, 1.9, "same"),
        (0.1, 1.9, "same"),
        (-1.9, -0.1, "same"),
        (-5, 1.9, "no worse"),
        (-5, -0.1, "better, size unclear"),
        (-5, -2.1, "better"),
        (-1, 2.1, "unknown"),
        (-30, 72, "unknown"),
        (0, 5, "unknown"),  # an interval that ends at no change does not exclude it
    ],
)
def test_a_state_says_what_its_interval_shows(low: float, high: float, said: str) -> None:
    assert state(low, high) == said
    # Of a figure of which more is better, the same factors the other way round.
    factor = {"worse": 100 / (1 + high / 100) - 100, "better": 100 / (1 + low / 100) - 100}
    mirrored = state(factor["worse"], factor["better"], "higher")
    assert mirrored == said or 1.9 in (abs(low), abs(high))  # 1/1.019 is not 0.981


def test_the_threshold_is_of_percent_to_either_side() -> None:
    assert state(-2.5, -2.01, "higher") == "worse"
    assert state(-2.5, -1.99, "higher") == "worse, size unclear"
    assert state(2.01, 2.5, "lower") == "worse"


def test_what_is_not_known_at_all_is_unknown() -> None:
    endless = np.array(np.inf)
    assert str(states.states(states.Harm.of(-endless, endless, 0.02, "lower"))) == "unknown"


@pytest.mark.parametrize(
    ("found", "strict", "old"),
    [
        (["same", "better", "no worse", "better, size unclear"], NO_REGRESSION, NO_REGRESSION),
        (["same", "unknown"], CANNOT_TELL, NO_REGRESSION),
        (["same", "worse, size unclear"], CANNOT_TELL, CANNOT_TELL),
        (["unknown", "worse"], REGRESSION, REGRESSION),
        ([], CANNOT_TELL, CANNOT_TELL),
    ],
)
def test_no_regression_is_said_only_if_every_metric_shows_it(
    found: list[states.State], strict: int, old: int
) -> None:
    assert states.decide(found, sound=True) == strict
    assert states.decide(found, sound=True, not_shown_worse=True) == old
    assert states.decide(found, sound=False) == CANNOT_TELL


def test_one_side_after_the_other_is_confounded_and_turns_are_not() -> None:
    assert order.order(range(6), range(6, 12)).together == 1
    assert order.order(range(6, 12), range(6)).confounded
    # One exchanged pair does not make it an order by turns.
    assert order.order([*range(11), 12], [11, *range(13, 24)]).confounded
    turns = order.order(range(0, 20, 2), range(1, 20, 2))
    assert turns.together == pytest.approx(0.1)
    assert not turns.confounded
    assert order.order([0, None], [1, 2]).together is None


def test_a_trend_is_spearmans() -> None:
    rng = np.random.default_rng(2)
    times = np.arange(12.0)
    for spread in (0.5, 4, 40):
        values = np.round(times / 2 + rng.normal(0, spread, 12))  # with ties
        known = stats.spearmanr(values, times).statistic
        assert order.trend(values, times) == pytest.approx(known)
    assert order.trend(np.ones(12), times) is None
    assert order.trend(np.array([np.nan, *times[1:]]), times) is None


def test_a_drift_that_both_sides_share_is_no_change() -> None:
    """No noise, only a drift of 1 an hour; the new side is two hours later on average."""
    times = np.array([0.0, 1, 3, 4, 6, 7]), np.array([2.0, 5, 8, 9, 10, 11])
    base, new = (Sample(t, t) for t in times)
    plain = interval.shift(base, new, 0.05)
    assert float(plain.estimate) == pytest.approx(4)
    level = interval.shift(*order.without_trend(base, new, times), 0.05)
    assert [float(v) for v in (level.low, level.estimate, level.high)] == pytest.approx([0] * 3)


def test_a_trend_that_must_be_estimated_makes_the_interval_wider() -> None:
    """The more, the further apart in time the sides are."""
    rng = np.random.default_rng(3)
    base, new = (Sample(v, v) for v in rng.normal(size=(2, 10)))
    stretched = []
    for apart in (0.0, 4.0, 8.0):
        times = np.arange(0.0, 20, 2), np.arange(0.0, 20, 2) + apart
        sides = order.without_trend(base, new, times)
        stretched.append(sum(float(np.ptp(side.high)) for side in sides))
    assert stretched == sorted(stretched)
    assert stretched[2] > 1.1 * stretched[0]


def test_figures_without_a_trend_are_tested_as_they_are() -> None:
    """Nothing is made of rounding, of unknown times, or of figures that are 0 or not known."""
    times = np.array([0.1, 7.3, 9.9, 30.2]), np.array([1.7, 8.1, 11.3, 35.9])
    for value in (1.1, 7e9, 3e-7):
        side = Sample.of(np.full(4, value))
        level = order.without_trend(side, side, times)
        assert interval.u_test(*level) == 1
        assert float(interval.shift(*level, 0.2).high) == 0
    some, zero = Sample.of(np.array([1.0, 2, 4, 3])), Sample.of(np.array([0.0, 1, 1, 2]))
    hidden = Sample(np.full(4, -np.inf), np.full(4, 3.0))
    for pair, when in (((some, some), None), ((some, zero), times), ((hidden, some), times)):
        assert order.without_trend(*pair, when) == pair
    at_once = np.zeros(4)
    assert order.without_trend(some, some, (at_once, at_once)) == (some, some)


def test_the_first_boot_is_odd_if_it_is_the_farthest_out() -> None:
    times = np.arange(6.0)
    assert order.first_is_odd(np.array([9.0, 1, 2, 1, 2, 1]), times)
    assert not order.first_is_odd(np.array([1.0, 9, 2, 1, 2, 1]), times)
    assert not order.first_is_odd(np.array([9.0, 1, 2]), times[:3])


def test_runs_of_one_boot_are_one_observation() -> None:
    starts = [Start("a", 100, 10), Start("b", 200, 10), Start("a", 150, 60)]
    found = observations.boots(starts)
    assert (found.of_run, found.guessed, found.started) == ((0, 1, 0), False, (100, 200))
    mean = observations.averaged(np.array([1.0, 5, 3]), np.array([1.0, 5, 3]), found.of_run)
    assert np.exp(mean.low).tolist() == pytest.approx([2, 5])


def test_a_boot_id_is_believed_whatever_the_clock_says() -> None:
    """A clock that was set, guests booted in one second, a run that knows no uptime."""
    starts = [Start("a", 100, 50), Start("a", 9000, 60), Start("b", 100, 50), Start("c", 7, None)]
    assert observations.boots(starts).of_run == (0, 0, 1, 2)


def test_without_boot_ids_boots_are_guessed_and_said_to_be() -> None:
    starts = [Start(None, 100, 50), Start(None, 160, 109), Start(None, 300, 50), Start("x", 301, 9)]
    found = observations.boots(starts)
    assert found.guessed
    assert found.of_run == (0, 0, 1, 2)
    assert observations.boots([Start(None, None, None)] * 3).number == 3


def test_a_mean_of_what_could_not_be_measured_is_known_as_well_as_its_parts() -> None:
    low, high = np.array([0.0, 500, 600]), np.array([1000.0, 500, 600])
    mean = observations.averaged(low, high, [0, 0, 1])
    assert np.exp(mean.low).tolist() == pytest.approx([250, 600])
    assert np.exp(mean.high).tolist() == pytest.approx([750, 600])


ALPHA = 0.005


@pytest.mark.parametrize(
    ("base", "new", "said"),
    [
        ([0.0] * 10, [0.0] * 10, "same"),
        ([0.0] * 10, [0.1] * 10, "worse"),
        ([0.0] * 10, [0.0] * 9 + [1e-6], "unknown"),  # one boot: chance
        ([0.0] * 10, [1e-6] * 10, "worse"),  # from none to some, however few
        ([1e-4] * 10, [1.1e-4] * 10, "same"),
        ([0.01] * 10, [0.02] * 10, "worse"),
        ([0.1] * 10, [0.0] * 10, "better"),
        ([0.01] * 3, [0.02] * 3, "unknown"),
    ],
)
def test_failures_count(base: list[float], new: list[float], said: str) -> None:
    assert failures.judge(np.array(base), np.array(new), ALPHA) == said


@pytest.mark.parametrize(("base", "new", "failing"), [(10, 10, 4), (6, 6, 6), (8, 12, 3)])
def test_from_none_to_some_is_decided_by_fishers_test(base: int, new: int, failing: int) -> None:
    table = [[failing, new - failing], [0, base]]
    p = stats.fisher_exact(table, alternative="greater").pvalue
    sides = np.zeros(base), np.array([1e-6] * failing + [0.0] * (new - failing))
    assert (failures.judge(*sides, 2 * p * 1.01) == "worse") is True
    assert (failures.judge(*sides, 2 * p * 0.99) == "worse") is False


@pytest.mark.parametrize("boots", [6, 10, 20])
def test_the_boots_needed_find_what_they_are_said_to_find(boots: int) -> None:
    """Of sides drawn anew, at a distance of detectable(), 80 % have an interval that shows it."""
    rng = np.random.default_rng(77)
    distance = power.detectable(boots, 0.05)
    base = rng.normal(size=(4000, boots))
    new = rng.normal(distance, 1, (4000, boots))
    found = np.mean(
        stats.mannwhitneyu(base, new, axis=1, method="exact").pvalue <= 0.05
        if boots < 7
        else interval.shift(Sample(base, base), Sample(new, new), 0.05).low > 0
    )
    assert found == pytest.approx(power.POWER, abs=0.03)


def test_the_boots_needed_agree_with_noethers_formula_where_they_are_many() -> None:
    """Noether, JASA 82 (1987): z^2 / (6 (P - 1/2)^2) a side."""
    above = stats.norm.cdf(0.25 / math.sqrt(2))
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    noether = z**2 / (6 * (above - 0.5) ** 2)
    assert power.boots_needed(1.0, 0.25, 0.05) == pytest.approx(noether, rel=0.1)


def test_the_boots_needed_come_with_the_uncertainty_of_the_spread() -> None:
    rng = np.random.default_rng(1)
    few, many = rng.normal(0, 0.02, (2, 5)), rng.normal(0, 0.02, (2, 100))
    by_few, by_many = (power.needed(*sides, 0.02, 0.05) for sides in (few, many))
    assert by_few is not None
    assert by_many is not None
    assert by_few.low <= by_few.boots <= by_few.high
    assert by_few.high - by_few.low > 3 * (by_many.high - by_many.low)
    assert by_many.low <= power.boots_needed(0.02, 0.02, 0.05) <= by_many.high
    assert power.needed(np.array([-np.inf, 0]), np.array([0.0, 0]), 0.02, 0.05) is None

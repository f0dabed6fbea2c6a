# SPDX-License-Identifier: GPL-2.0-only
"""Each figure of a comparison of recorded runs, computed once more by other means.

Medians with their intervals, and the exact U test with ties, are what benchstat prints; it is
rebuilt here from its description with scipy, since this machine need not have Go.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import recorded
from comparing import compared
from page_alloc_bench.analysis.compare import Comparison, Row

SIZES = (8, 7)
CONFIDENCE = 0.95


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    place = tmp_path_factory.mktemp("sides")
    sides = []
    for side, size in zip((recorded.BASE, recorded.NEW), SIZES, strict=True):
        documents = recorded.documents(side)[:size]
        for number, document in enumerate(documents):
            minute = 2 * number + (side == recorded.NEW)  # by turns
            document["run"].update(
                boot_id=f"{side.name}{number}", started_at=f"2026-01-01T00:{minute:02}:00Z"
            )
        sides.append(recorded.write(place / side.name, documents))
    return compared(*sides)


def ordinary(made: Comparison) -> list[Row]:
    """The rows whose change is a ratio of figures that the clock could read."""
    rows = [r for r in made.rows if r.kind != "failures" and not r.below and all(r.base.values)]
    assert len(rows) > 12
    return rows


def logs(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """The logarithms of both sides less their common trend, by linear regression in matrices.

    The design is a level, the side and the time; the sides are made wider by what a slope that has
    to be estimated adds to the standard error of the side's coefficient.
    """
    y = np.log([*row.base.values, *row.new.values])
    time = np.array([*range(0, 2 * SIZES[0], 2), *range(1, 2 * SIZES[1], 2)], float)
    of_new = np.repeat([0.0, 1.0], SIZES)
    design = np.column_stack([np.ones(y.size), of_new, time])
    without = design[:, :2]
    (_, _, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    errors = [np.linalg.inv(x.T @ x)[1, 1] / (y.size - x.shape[1]) for x in (design, without)]
    level = y - slope * (time - time.mean())
    sides = level[: SIZES[0]], level[SIZES[0] :]
    base, new = (
        np.median(side) + math.sqrt(errors[0] / errors[1]) * (side - np.median(side))
        for side in sides
    )
    return base, new


def ratios(base: np.ndarray, new: np.ndarray) -> np.ndarray:
    """All differences between a boot of one side and one of the other, in order."""
    return np.sort([n - b for b, n in itertools.product(base, new)])


def test_what_is_tested_is_less_the_trend(made: Comparison) -> None:
    """And the values that are shown are as they were measured."""
    for row in ordinary(made):
        tested = np.log(row.base.tested), np.log(row.new.tested)
        for mine, theirs in zip(logs(row), tested, strict=True):
            assert theirs == pytest.approx(mine)


def test_medians_and_their_intervals_are_order_statistics(made: Comparison) -> None:
    """Between the values that the sign test, at 5 %, does not reject as the median."""
    for row in made.rows:
        for side in (row.base, row.new):
            if side.below:
                continue
            ordered = sorted(side.values)
            assert side.median == pytest.approx(np.quantile(side.values, 0.5))
            size = len(ordered)
            if 2 * 0.5**size > 1 - CONFIDENCE:
                assert side.low is None
                continue
            rejected = sum(
                stats.binomtest(below, size).pvalue <= 1 - CONFIDENCE for below in range(size // 2)
            )
            assert (side.low, side.high) == (ordered[rejected - 1], ordered[-rejected])


def test_changes_are_the_median_of_all_ratios(made: Comparison) -> None:
    for row in ordinary(made):
        expected = 100 * np.expm1(np.mean(ratios(*logs(row))[[27, 28]]))
        assert row.change_percent == pytest.approx(expected)


def test_p_is_that_of_all_ways_to_share_out_the_values(made: Comparison) -> None:
    tested = [row for row in ordinary(made) if row.p is not None]
    assert tested
    for row in tested:
        base, new = logs(row)
        ranks = stats.rankdata(np.concatenate([base, new]))
        ways = np.array(list(itertools.combinations(range(sum(SIZES)), SIZES[0])))
        middle = SIZES[0] * (sum(SIZES) + 1) / 2
        away = np.abs(ranks[ways].sum(axis=1) - middle)
        expected = np.mean(away >= away[0] - 1e-9)  # the first way is the one that was seen
        assert row.p == pytest.approx(expected)


def test_p_of_several_is_corrected_by_holms_steps(made: Comparison) -> None:
    for decides in (True, False):
        rows = [r for r in made.rows if r.decides is decides and r.p is not None]
        rows.sort(key=lambda row: row.p or 0.0)
        so_far = 0.0
        for step, row in enumerate(rows):
            so_far = max(so_far, min(1.0, (len(rows) - step) * (row.p or 0.0)))
            assert row.p_corrected == pytest.approx(so_far)


def test_intervals_hold_the_changes_that_the_u_test_does_not_reject(made: Comparison) -> None:
    """The interval is that, or wider where the sides spread unequally."""
    alpha = (1 - CONFIDENCE) / made.tests
    alike = 0
    for row in (row for row in ordinary(made) if row.decides):
        base, new = logs(row)
        if row.change_low is None or row.change_high is None:
            continue
        low, high = math.log1p(row.change_low / 100), math.log1p(row.change_high / 100)
        differences = ratios(base, new)
        ways = np.array(list(itertools.combinations(range(sum(SIZES)), SIZES[0])))
        u = ways.sum(axis=1) - SIZES[0] * (SIZES[0] - 1) / 2
        k = max(k for k in range(len(differences) // 2) if 2 * np.mean(u <= k - 1) <= alpha)
        exact = differences[k - 1], differences[-k]
        assert low <= exact[0] + 1e-9
        assert high >= exact[1] - 1e-9
        alike += abs(low - exact[0]) < 1e-9 and abs(high - exact[1]) < 1e-9
    assert alike >= 3


def test_geomeans_are_of_the_changes_of_the_means(made: Comparison) -> None:
    """Of each boot the geometric mean of its figures; then the median of all ratios."""
    assert made.geomeans
    for mean in made.geomeans:
        rows = [
            r for r in made.rows
            if r.family == mean.family and r.verdict != "not tested" and r.kind != "failures"
        ]  # fmt: skip
        base, new = (np.mean(side, axis=0) for side in zip(*map(logs, rows), strict=True))
        expected = 100 * np.expm1(np.mean(ratios(base, new)[[27, 28]]))
        assert mean.change_percent == pytest.approx(expected)

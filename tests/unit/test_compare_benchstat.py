# SPDX-License-Identifier: GPL-2.0-only
"""The statistics of compare give what benchstat's own tests expect, to the last digit.

The values are of golang.org/x/perf, benchmath/assumption_test.go and anone.go, and of its library
github.com/aclements/go-moremath, stats/utest_test.go. One value there is left out: a p of 0 for
four figures against five that are all alike, which no way to share them out has, and which a remark
in that file doubts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from page_alloc_bench.analysis import statistics
from page_alloc_bench.analysis.verdict import interval
from page_alloc_bench.analysis.verdict.interval import Sample

FEW, TWOS = (2, 1, 3, 5), (2, 2, 2, 2)
EVEN = [2 * n for n in range(500)]
ODD = [2 * n - 41 for n in range(600)]
PARTLY_TIED = EVEN[:30] + ODD[30:]


@pytest.mark.parametrize(
    ("base", "new", "p"),
    [
        (FEW, (12, 11, 13, 15), 0.028571428571428577),
        ((12, 11, 13, 15), FEW, 0.028571428571428577),
        (FEW, (0, 4, 6, 7), 0.485714285714285770),
        (FEW, FEW, 1),
        (FEW, TWOS, 0.7142857142857143),
        (TWOS, TWOS, 1),
        ((-1, -1, -1), (1, 1, 1), 0.1),
        ((-1, -1, -1, -1), (1, 1, 1, 1), 0.02857142857142857),
        ((1, -1, -1, -1), (-1, 1, 1, 1), 0.4857142857142857),
        (EVEN, ODD, 0.0049335360814172224),
        (EVEN, EVEN, 1),
        (EVEN, PARTLY_TIED, 0.0038703814239617884),
    ],
)
def test_p_is_what_benchstat_expects(base: Sequence[float], new: Sequence[float], p: float) -> None:
    sides = [np.asarray(side, float) for side in (base, new)]
    assert interval.u_test(*(Sample(side, side) for side in sides)) == pytest.approx(p, rel=1e-12)


def test_the_least_p_is_that_of_benchstats_table() -> None:
    table = {
        2: 0.3333333333333333, 3: 0.1, 4: 0.02857142857142857, 5: 0.007936507936507936,
        6: 0.0021645021645021645, 7: 0.0005827505827505828, 8: 0.0001554001554001554,
        9: 4.113533525298231e-05,
    }  # fmt: skip
    for boots, p in table.items():
        assert interval.least_p(boots, boots) == pytest.approx(p, rel=1e-12)
    assert interval.least_boots(0.05) == 4
    assert interval.least_boots(0.01) == 5


def test_the_interval_of_the_median_is_what_benchstat_expects() -> None:
    values = np.array([-10.0, 2, 3, 4, 5, 6])
    assert np.median(values) == 3.5
    assert statistics.median_interval(values, 0.95) == (-10, 6)
    assert statistics.median_interval(values, 0.99) is None
    least = {
        confidence: next(
            n for n in range(2, 51) if statistics.median_interval(np.arange(n * 1.0), confidence)
        )
        for confidence in (0.95, 0.99)
    }
    assert least == {0.95: 6, 0.99: 8}

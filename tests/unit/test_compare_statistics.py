# SPDX-License-Identifier: GPL-2.0-only
"""Every statistic agrees with a published table or with a computation of another kind."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import recorded
from page_alloc_bench.analysis import per_run, results, statistics

LOG = np.log


def floats(*values: float) -> statistics.Array:
    return np.array(values, float)


# Ranks of the two values that enclose the median with at least 95 %, by the number of values:
# the table of the sign test (Conover, Practical Nonparametric Statistics; Altman, appendix).
MEDIAN_RANKS = {
    6: (1, 6),
    7: (1, 7),
    8: (1, 8),
    9: (2, 8),
    10: (2, 9),
    12: (3, 10),
    15: (4, 12),
    20: (6, 15),
    25: (8, 18),
    30: (10, 21),
}


@pytest.mark.parametrize(("runs", "ranks"), MEDIAN_RANKS.items())
def test_the_interval_of_the_median_is_that_of_the_tables(
    runs: int, ranks: tuple[int, int]
) -> None:
    values = np.random.default_rng(runs).permutation(np.arange(1.0, runs + 1))
    assert statistics.median_interval(values, 0.95) == ranks


@pytest.mark.parametrize("runs", range(1, 6))
def test_fewer_than_six_values_have_no_interval_of_95_percent(runs: int) -> None:
    assert statistics.median_interval(np.arange(float(runs)), 0.95) is None


# The largest U that is significant at 5 %, two-sided, for equal sides (Mann and Whitney's table).
CRITICAL_U = {4: 0, 5: 2, 6: 5, 7: 8, 8: 13, 9: 17, 10: 23, 12: 37, 15: 64, 20: 127}


def sides_with_u(runs: int, u: int) -> tuple[statistics.Array, statistics.Array]:
    """Return two sides of distinct values of which u pairs are in the wrong order."""
    base = np.arange(runs, dtype=float)
    new = np.arange(runs, dtype=float) + 1000
    for index in range(runs):  # move values of new below some of base
        steps = min(u, runs)
        new[index] = new[index] if not steps else runs - steps - 0.5 + index / 1000
        u -= steps
    return base, new


@pytest.mark.parametrize(("runs", "critical"), CRITICAL_U.items())
def test_u_is_significant_where_the_tables_say_so(runs: int, critical: int) -> None:
    assert statistics.u_test(*sides_with_u(runs, critical))[0] <= 0.05
    assert statistics.u_test(*sides_with_u(runs, critical + 1))[0] > 0.05


@pytest.mark.parametrize(
    ("base", "new"),
    [
        (floats(1, 2, 2, 3), floats(2, 3, 4, 4)),
        (floats(5, 5, 5, 6, 7), floats(5, 6, 8, 8, 9)),
        (floats(1, 1, 1, 1), floats(1, 1, 1, 2)),
        (floats(1.5, 2.5, 3.5, 4.5), floats(10, 11, 12, 13)),
    ],
)
def test_u_is_exact_with_ties_too(base: statistics.Array, new: statistics.Array) -> None:
    """Go through all ways to share out the values, as the definition says."""
    together = np.concatenate([base, new])

    def distance(chosen: tuple[int, ...]) -> float:
        inside = together[list(chosen)]
        outside = np.delete(together, list(chosen))
        u = sum((x > y) + (x == y) / 2 for x in inside for y in outside)
        return abs(float(u) - inside.size * outside.size / 2)

    seen = distance(tuple(range(base.size)))
    ways = [distance(c) for c in itertools.combinations(range(together.size), base.size)]
    assert statistics.u_test(base, new)[0] == pytest.approx(
        sum(way >= seen for way in ways) / len(ways)
    )


def test_u_tells_the_larger_side() -> None:
    low, high = np.arange(6.0), np.arange(6.0) + 100
    assert statistics.u_test(low, high)[1] == 1
    assert statistics.u_test(high, low)[1] == -1
    assert statistics.u_test(low, low.copy())[1] == 0
    assert statistics.u_test(np.ones(5), np.ones(5)) == (1.0, 0)


def test_holm_agrees_with_published_examples() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert statistics.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx(
        [0.05, 0.08, 0.09, 0.09, 0.09]
    )
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_the_least_p_and_the_least_runs_are_those_of_scipy() -> None:
    for runs in range(2, 15):
        far = stats.mannwhitneyu(np.arange(runs), np.arange(runs) + 99, method="exact").pvalue
        assert statistics.least_p(runs, runs) == pytest.approx(far)
    assert [statistics.least_runs(tests, 0.05) for tests in (1, 2, 6, 7, 23, 24)] == [
        4, 5, 5, 6, 6, 7,
    ]  # fmt: skip


def test_the_change_and_its_interval_agree_with_a_bootstrap_done_otherwise() -> None:
    rng = np.random.default_rng(5)
    base, new = rng.lognormal(3, 0.1, 12), rng.lognormal(3.05, 0.1, 10)
    change = statistics.change(base, new, 0.95, 1)
    assert change.ratio == np.median(new) / np.median(base) - 1
    drawn = [
        np.median(rng.choice(new, new.size)) / np.median(rng.choice(base, base.size)) - 1
        for _ in range(20_000)
    ]
    assert change.interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)
    assert statistics.change(base, new, 0.95, 1).interval == change.interval
    assert statistics.change(base, new, 0.95, 2).interval != change.interval


def test_a_change_that_cannot_be_told_is_none() -> None:
    assert statistics.change(np.zeros(6), np.ones(6), 0.95, 1).ratio is None
    few = statistics.change(floats(1, 2, 3), floats(2, 3, 4), 0.95, 1)
    assert (few.ratio, few.interval) == (0.5, None)


def test_the_interval_of_the_change_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    truth, covered, rounds = 0.05, 0, 400
    for _ in range(rounds):
        base, new = rng.lognormal(0, 0.05, 10), rng.lognormal(LOG(1 + truth), 0.05, 10)
        low, high = statistics.change(base, new, 0.95, 1, resamples=500).interval or (1, 0)
        covered += low <= truth <= high
    assert covered / rounds > 0.92


def test_the_geometric_mean_is_that_of_the_changes_and_its_interval_is_theirs() -> None:
    rng = np.random.default_rng(3)
    base = rng.lognormal(0, 0.05, 10)
    new = base * 1.10
    one = statistics.change(base, new, 0.95, 1)
    two = statistics.change(base * 7, base * 7 * 1.21, 0.95, 1)
    mean, interval = statistics.geometric_mean([one, two], 0.95)
    assert mean == pytest.approx(math.sqrt(1.10 * 1.21) - 1)
    # The same runs were drawn for both: the mean moves as each of them does.
    assert one.interval is not None
    assert interval == pytest.approx([(1 + x) * math.sqrt(1.1) - 1 for x in one.interval])
    unknown = statistics.Change(None, None, None)
    assert statistics.geometric_mean([one, unknown], 0.95) == (None, None)


@pytest.mark.parametrize("spread", [0.02, 0.05])
@pytest.mark.parametrize("tests", [1, 16])
def test_as_many_runs_as_are_said_to_be_needed_have_the_power(spread: float, tests: int) -> None:
    rng = np.random.default_rng(7)
    pilot = [np.exp(spread * stats.zscore(rng.standard_normal(20), ddof=1)) for _ in range(2)]
    alpha = 0.05 / tests
    runs = statistics.runs_needed(*pilot, 0.05, alpha) or 0
    power = stats.power(
        lambda x, y, axis: stats.mannwhitneyu(x, y, axis=axis, method="exact").pvalue,
        (
            lambda size: rng.lognormal(0, spread, size),
            lambda size: rng.lognormal(LOG(1.05), spread, size),
        ),
        (runs, runs),
        significance=alpha,
        n_resamples=2000,
    ).power
    assert 0.75 < power < 0.9 if runs > statistics.least_runs(tests, 0.05) else power > 0.75


def test_runs_needed_are_unknown_without_variance_and_few_with_none() -> None:
    assert statistics.runs_needed(floats(1), floats(2), 0.02, 0.05) is None
    assert statistics.runs_needed(floats(0, 1), floats(2, 3), 0.02, 0.05) is None
    assert statistics.runs_needed(np.ones(5), np.ones(5), 0.02, 0.05) == statistics.LEAST_RUNS


def result(tmp_path: Path, change: dict[str, Any]) -> results.Result:
    document = recorded.documents(recorded.BASE)[0]
    run = {"run": document["run"]}
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
    path.write_text(json.dumps(run | change))
    return results.load(path)


NAME = "kernel_page_alloc_{}_order0"


def latencies(tmp_path: Path, operations: Any, sample: Any, *, histogram: bool) -> results.Result:
    counts, edges = np.histogram(operations, recorded.EDGES)
    measured = {
        NAME.format("latencies_ns"): np.asarray(sample).tolist(),
        NAME.format("latency_max_ns"): [int(np.max(operations))],
    }
    if histogram:
        used = np.flatnonzero(counts)
        first, last = used[0], used[-1] + 1
        measured[NAME.format("latency_histogram")] = counts[first:last].tolist()
        edges = edges.astype(int)[first : last + 1]
        measured[NAME.format("latency_histogram_bounds_ns")] = edges.tolist()
    return result(tmp_path, measured)


def figures(of: results.Result) -> dict[str, float]:
    return {statistic.statistic: value for statistic, value in per_run.statistics(of).items()}


def test_percentiles_of_a_histogram_alone_are_those_of_scipy(tmp_path: Path) -> None:
    operations = np.random.default_rng(2).lognormal(7, 0.5, 20_000).astype(int)
    run = latencies(tmp_path, operations, [], histogram=True)
    counts = run.values("kernel_page_alloc_latency_histogram", 0)
    bounds = run.values("kernel_page_alloc_latency_histogram_bounds_ns", 0)
    model = stats.rv_histogram((counts, bounds), density=False)
    for name, part in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        assert figures(run)[name] == pytest.approx(model.ppf(part))


def test_percentiles_of_a_sample_alone_are_numpys(tmp_path: Path) -> None:
    operations = np.random.default_rng(2).lognormal(7, 0.5, 20_000).astype(int)
    run = latencies(tmp_path, operations, operations[:10_000], histogram=False)
    assert figures(run) == {
        "median": np.quantile(operations[:10_000], 0.5),
        "p99": np.quantile(operations[:10_000], 0.99),
        "p99.9": pytest.approx(np.quantile(operations[:10_000], 0.999)),
        "max": operations.max(),
    }


def population(rng: np.random.Generator, size: int, step: int) -> Any:
    """Return latencies as hosts have them: two narrow modes, a heavy tail, and a clock's step."""
    kind = rng.choice(3, size, p=[0.7, 0.29, 0.01])
    spread = [
        rng.normal(500, 8, size),
        rng.normal(620, 30, size),
        900 * rng.pareto(1.5, size) + 900,
    ]
    return (np.choose(kind, spread) // step * step).astype(int)


@pytest.mark.parametrize("step", [1, 10])
def test_histogram_and_sample_together_are_nearer_the_truth_than_either(
    tmp_path: Path, step: int
) -> None:
    """The truth is the percentile of all operations; errors are of its logarithm."""
    rng = np.random.default_rng(9)
    errors: dict[tuple[str, str], list[float]] = {}
    for _ in range(12):
        operations = population(rng, 200_000, step)
        sample = rng.choice(operations, 5_000, replace=False)
        ways = {
            "both": latencies(tmp_path, operations, sample, histogram=True),
            "histogram": latencies(tmp_path, operations, [], histogram=True),
            "sample": latencies(tmp_path, operations, sample, histogram=False),
        }
        for way, run in ways.items():
            for name, part in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
                error = abs(LOG(figures(run)[name] / np.quantile(operations, part)))
                errors.setdefault((way, name), []).append(float(error))
    mean = {key: float(np.mean(values)) for key, values in errors.items()}
    for name in ("median", "p99", "p99.9"):
        assert mean["both", name] <= 1.05 * min(mean["sample", name], mean["histogram", name])
        assert mean["both", name] < 1 / 16  # the width of a bucket
    assert mean["sample", "p99.9"] > 3 * mean["both", "p99.9"]
    assert mean["histogram", "median"] > 3 * mean["both", "median"]


def test_a_percentile_with_next_to_nothing_beyond_it_is_left_out(tmp_path: Path) -> None:
    operations = np.arange(1000, 5900)
    run = latencies(tmp_path, operations, operations[:10], histogram=True)
    assert list(figures(run)) == ["median", "p99", "max"]


def test_no_percentile_is_above_the_longest_operation(tmp_path: Path) -> None:
    operations = np.full(100_000, 16_385)  # at the begin of a bucket that is 1024 wide
    run = latencies(tmp_path, operations, [], histogram=True)
    assert all(16_384 <= value <= 16_385 for value in figures(run).values())


def test_memory_is_the_median_of_iterations_and_counts_are_shares(tmp_path: Path) -> None:
    run = result(
        tmp_path,
        {
            "idle_available_bytes_order0": [10, 50, 20],
            "kernel_page_allocs_order0": [999_990],
            "kernel_alloc_failures_order0": [10],
            "kernel_page_allocs_remote_order0": [500_000],
            "kernel_page_allocs_per_second_order0": [1234],
            "kernel_alloc_failures_per_cpu_order0": [4, 6],
        },
    )
    found = {s.metric: value for s, value in per_run.statistics(run).items()}
    assert found == {
        "idle_available_bytes": 20,
        "kernel_alloc_failures": pytest.approx(10),
        "kernel_page_allocs_remote": pytest.approx(500_005),
        "kernel_page_allocs_per_second": 1234,
    }

# SPDX-License-Identifier: GPL-2.0-only
"""Every statistic agrees with a published table or with a computation of another kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import recorded
from page_alloc_bench.analysis import per_run, results, statistics
from page_alloc_bench.analysis.verdict import order


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


def test_the_interval_of_the_median_is_that_of_scipy_for_any_number() -> None:
    for runs in range(6, 150):
        values = np.arange(float(runs))
        for confidence in (0.9, 0.95, 0.99):
            ends = stats.quantile_test(values, p=0.5).confidence_interval(confidence)
            wanted = (ends.low, ends.high) if np.isfinite([ends.low, ends.high]).all() else None
            assert statistics.median_interval(values, confidence) == wanted, (runs, confidence)


@pytest.mark.parametrize("values", [3, 8, 1000])  # of so many that may be tied
def test_a_trend_is_spearmans_correlation(values: int) -> None:
    rng = np.random.default_rng(values)
    for boots in (3, 7, 50):
        figures, times = rng.integers(0, values, (2, boots)).astype(float)
        figures[:2], times[:2] = (0, 1), (1, 0)  # neither is constant
        expected = float(stats.spearmanr(figures, times).statistic)
        assert order.trend(figures, times) == pytest.approx(expected, rel=1e-9)


HEAVY = ("pandas", "duckdb", "matplotlib", "jsonschema")


@pytest.mark.parametrize(
    ("command", "heavy"),
    [("compare", ("scipy.stats", "scipy.optimize", *HEAVY)), ("show", ("scipy", *HEAVY))],
)
def test_a_command_starts_without_what_it_does_not_need(
    command: str, heavy: tuple[str, ...]
) -> None:
    """Each of these takes longer to import than fifty results to read."""
    program = (
        f"import sys, page_alloc_bench.analysis.{command}, page_alloc_bench.cli.{command};"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("runs", range(1, 6))
def test_fewer_than_six_values_have_no_interval_of_95_percent(runs: int) -> None:
    assert statistics.median_interval(np.arange(float(runs)), 0.95) is None


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
    for _ in range(4):
        operations = population(rng, 200_000, step)
        sample = rng.choice(operations, 5_000, replace=False)
        ways = {
            "both": latencies(tmp_path, operations, sample, histogram=True),
            "histogram": latencies(tmp_path, operations, [], histogram=True),
            "sample": latencies(tmp_path, operations, sample, histogram=False),
        }
        for way, run in ways.items():
            for name, part in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
                error = abs(np.log(figures(run)[name] / np.quantile(operations, part)))
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

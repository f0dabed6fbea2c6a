# SPDX-License-Identifier: GPL-2.0-only
"""On real runs, compare finds what was planted, at its size; tests/longer says how often.

The runs are from emulated guests on a machine that was busy, with the noise that this makes. A
planted change is in the raw data: bytes of each iteration, or each latency in samples and
histograms.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import recorded
from drawn_sides import ALLOCATION, Runs, draw, load
from page_alloc_bench.analysis import compare as engine
from page_alloc_bench.analysis import results, thresholds
from page_alloc_bench.analysis.compare import Comparison


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return load(tmp_path_factory.mktemp("recorded") / "runs")


def accepted(base: Runs, new: Runs) -> Comparison:
    """Compare runs with themselves as they were before a change was planted."""
    return engine.compare(base, new, accept_order=True)


def test_a_planted_change_is_measured_at_its_size(runs: Runs, tmp_path: Path) -> None:
    """The same runs with and without it: each statistic moves by what was planted."""
    memory = load(tmp_path / "memory", lambda d: recorded.plant_memory(d, 0.95))
    latency = load(tmp_path / "latency", lambda d: recorded.plant_latency(d, 1.05))
    for row in accepted(runs, memory).rows:
        planted = -5 if row.metric.endswith("available_bytes") else 0
        assert row.change_percent is None or row.change_percent == pytest.approx(planted, abs=0.01)
    for row in accepted(runs, latency).rows:
        planted = 5 if row.metric.endswith("latencies_ns") else 0
        # A step of the guest's clock, 10 ns, is 2 % of a free; a bucket of the tail is 6 % wide.
        near = 1.5 if row.statistic in ("median", "max") else 3
        assert row.change_percent is None or row.change_percent == pytest.approx(planted, abs=near)


def test_an_improvement_is_no_regression(runs: Runs, tmp_path: Path) -> None:
    planted = load(tmp_path / "planted", lambda d: recorded.plant_memory(d, 1.1))
    comparison = engine.compare(
        *draw(runs, planted, 12, 1),
        only=["*_available_bytes"],
        thresholds=thresholds.parse("2%"),
    )
    assert comparison.exit_code == engine.NO_REGRESSION
    assert {row.verdict for row in comparison.rows} == {"better"}


def test_what_init_on_alloc_costs_is_found(runs: Runs) -> None:
    """With it, allocations of order 4 take 77 times as long: 12 boots of each, by turns."""
    without = results.load_all([recorded.NEW])
    comparison = engine.compare(without, runs[::2])
    assert comparison.exit_code == engine.REGRESSION
    worse = {(row.metric, row.order) for row in comparison.deciding if row.regression}
    assert {("kernel_page_allocs_per_second", order) for order in (0, 4)} <= worse
    assert set(ALLOCATION) <= worse
    assert not any("memory" in name for name, _ in worse)
    assert comparison.sentence.startswith(
        "Regression of 5 % or more: allocation median, order 4 x7"
    )

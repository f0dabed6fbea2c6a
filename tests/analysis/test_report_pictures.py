# SPDX-License-Identifier: GPL-2.0-only
"""Pictures of a report: runs in time, changes against thresholds, bands, tails, scaling."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

import recorded
from page_alloc_bench.analysis import compare, results, scaling
from page_alloc_bench.analysis.report import (
    counters,
    latency,
    palette,
    pictures,
    sides,
    spread,
    tables,
)
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case
from reporting import RATES, Page, brief, changed, stepped


def test_bands_do_not_grow_with_the_number_of_runs(base: list[Result]) -> None:
    """Where the middle of the runs ends is what more runs tell better, and not farther away."""
    rng = np.random.default_rng(1)
    widths = {}
    for runs in (12, 96):
        low, high = spread.ends(rng.normal(size=(runs, 500)))
        widths[runs] = float(np.mean(high - low))
    assert widths[96] == pytest.approx(widths[12], rel=0.12)
    assert float(np.ptp(rng.normal(size=(96, 500)), axis=0).mean()) > 1.5 * widths[96]


def test_the_tail_ends_where_a_side_has_no_more_operations(base: list[Result]) -> None:
    """The side that made more of them has slower ones only because of that."""
    timed = next(iter(metrics.operations().values()))
    few = latency.all_of(base, timed, Case(0))
    many = [
        dataclasses.replace(run, counts=run.counts * 100, largest=run.largest * 9) for run in few
    ]
    depth = latency.depth([few, many])
    assert depth == pytest.approx(1 / np.median([run.total for run in few]))
    assert latency.tail(many, depth).at[-1] == pytest.approx(depth)
    assert latency.tail(many).at[-1] < depth / 50


def by_time(base: list[Result], tmp_path: Path, boots: int) -> Figure:
    """The picture of runs in the order of time, of twelve runs of so many boots."""

    def made(number: int) -> Result:
        def when(document: dict[str, Any]) -> None:
            document["run"].update(
                boot_id=f"b{number * boots // 12}", started_at=f"2026-01-01T00:{number:02}:00Z"
            )

        return changed(base[number], tmp_path / f"{number}.json", when)

    backwards = [made(number) for number in reversed(range(12))]
    [picture] = pictures.in_time(sides.make(backwards), Case(0))
    assert f"12 runs of {boots} boots" in picture.title
    return picture.figure(palette.LIGHT, titled=False)


@pytest.mark.parametrize("boots", [12, 4])
def test_runs_are_markers_in_the_order_of_time_and_boots_are_grounds(
    base: list[Result], tmp_path: Path, boots: int
) -> None:
    figure = by_time(base, tmp_path, boots)
    drawn = {panel.get_title(loc="left"): panel for panel in figure.axes}
    assert set(drawn) >= {"idle memory", "allocation rate", "allocation median", "free median"}
    places, rates = drawn["allocation rate"].get_lines()[0].get_data()
    assert list(places) == list(range(1, 13))
    assert list(rates) == [run.values("kernel_page_allocs_per_second", 0)[0] for run in base[:12]]
    assert len(drawn["allocation rate"].patches) == boots // 2


def test_each_change_is_drawn_against_its_threshold(base: list[Result], new: list[Result]) -> None:
    made = compare.compare(base, new, accept_order=True)
    [picture] = pictures.changes(made)
    axes = picture.figure(palette.LIGHT, titled=False).axes[0]
    rows = [row for row in made.rows if row.decides and row.kind != "failures"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        compare.describe(row) for row in rows
    ]
    told = [line.get_gid() for line in axes.get_lines() if line.get_marker() == "o"]
    assert told == [row.verdict.replace(" ", "-") for row in rows]
    grounds = [box.get_paths()[0].get_extents() for box in axes.collections]
    for row, ground in zip(rows, grounds, strict=True):
        lines = [
            line.get_xdata()
            for line in axes.get_lines()
            if line.get_marker() == "o" and line.get_ydata()[0] == rows.index(row)
        ]
        inside = ground.x0 < lines[0][0] < ground.x1
        limit = row.threshold_percent
        assert inside == (-limit < (row.change_percent or 0) < limit)


def test_events_are_told_by_the_allocations_that_were_made(base: list[Result]) -> None:
    rates = counters.per_allocation(base[:2], "antagonized", Case(0))
    for number, run in enumerate(base[:2]):
        delta = counters.vmstat(run, "antagonized", Case(0))
        made = int(run.values("kernel_page_allocs", 0)[0])
        assert rates["oom_kill"][number] == pytest.approx(delta["oom_kill"] / made * 1e6)


def test_a_rate_by_cpus_is_a_curve_with_a_knee(tmp_path: Path) -> None:
    runs = [stepped(tmp_path, number) for number in range(3)]
    [curve] = scaling.curves(runs)
    assert curve.middles == [(cpus, rate + 1) for cpus, rate in RATES.items()]
    assert curve.knee == 4
    assert curve.efficiency == pytest.approx(0.5, rel=0.01)
    [picture] = pictures.scaling(sides.make(runs), Case(0))
    assert "knee at 4, 50 % kept on 8" in picture.title
    axes = picture.figure(palette.LIGHT, titled=False).axes[0]
    [knee] = [line for line in axes.get_lines() if line.get_gid() == "knee-base"]
    assert list(knee.get_xdata()) == [4]


def test_each_host_has_a_curve_of_its_own(tmp_path: Path) -> None:
    """The number of all CPUs of a small host is a step of a large one: they are not one curve."""
    runs = [stepped(tmp_path, 0), stepped(tmp_path, 1, slower=1.9)]
    for host, run in zip(("a" * 32, "b" * 32), runs, strict=True):
        run.run["host_id"] = host
    runs[1].run["cpus"] = list(range(4))
    knees = {curve.host[0]: (curve.knee, max(curve.points)) for curve in scaling.curves(runs)}
    assert knees == {"a": (4, 8), "b": (None, 4)}
    drawn = pictures.scaling(sides.make(runs), Case(0))
    assert len({picture.name for picture in drawn}) == 2
    for host, picture in zip("ab", drawn, strict=True):
        assert f"on host {host * 8}:" in picture.title


def test_show_has_the_curve_as_a_table(tmp_path: Path) -> None:
    stepped(tmp_path, 0)
    done = CliRunner().invoke(main, ["show", str(tmp_path / "0-1.0.json")])
    told = done.output[done.output.index("pairs: allocation rate by CPUs, order 0") :]
    rows = [line.split() for line in told.splitlines()[2:6]]
    assert rows == [
        ["1", "1,000", "1,000", "100", "%"],
        ["2", "1,900", "950", "95", "%"],
        ["4", "3,400", "850", "85", "%"],
        ["8", "4,000", "500", "50", "%"],
    ]
    assert "knee at 4: the last with 80 % of the rate of each of 1" in told


def test_a_page_says_by_what_its_runs_were_chosen(tmp_path: Path) -> None:
    stepped(tmp_path, 0, change=brief)
    stepped(tmp_path, 1, change=brief)
    words = ["report", str(tmp_path / "*.json"), "--filter", "parameters.seed=2", "-o"]
    done = CliRunner().invoke(main, [*words, str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    text = Page((tmp_path / "page.html").read_text()).text
    assert "Only runs with parameters.seed=2 are in this page." in text
    assert "1.json" in text
    assert "0-1.0.json" not in text


def test_a_rate_that_keeps_up_has_no_knee(tmp_path: Path) -> None:
    [curve] = scaling.curves([stepped(tmp_path, 0, slower=1.9)])
    assert curve.knee is None
    assert scaling.curves(results.load_all([recorded.BASE])[:1]) == []  # one number of CPUs


def test_each_workload_has_a_table_of_its_own(tmp_path: Path) -> None:
    base = [stepped(tmp_path, number) for number in range(6)]
    new = [stepped(tmp_path, number, slower=0.5) for number in range(6, 12)]
    made = compare.compare(base, new, accept_order=True)
    told = tables.comparison(made, sides.make(base, new))
    assert [table.caption for table in told] == [
        "What changed: available-memory",
        "What changed: pairs",
    ]
    assert next(row[0] for row in told[1].rows) == "pairs: allocation rate, order 0"
    assert list(made.groups)[-3:] == [f"pairs, order 0, cpus {cpus}" for cpus in (1, 2, 4)]
    [row] = made.groups["pairs, order 0"]
    assert row.verdict == "worse"

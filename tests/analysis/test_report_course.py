# SPDX-License-Identifier: GPL-2.0-only
"""Pictures of a report: latencies by CPU and over time, free memory by migratetype, events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

import recorded
from page_alloc_bench.analysis import results
from page_alloc_bench.analysis.report import by_type, counters, palette, pictures, sides
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result.case import Case
from reporting import planted, seen, stepped

NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture
def runs(tmp_path: Path) -> list[Result]:
    documents = [planted(*each) for each in enumerate(recorded.documents(recorded.BASE)[:3])]
    return results.load_all([recorded.write(tmp_path / "runs", documents)])


def drawn(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """What stands at which places, of each line that is drawn."""
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in axes.get_lines()
        if len(line.get_xdata()) > 1
    ]


def test_a_cpu_that_is_slower_stands_apart(runs: list[Result]) -> None:
    [by_cpu, _] = pictures.course(sides.make(runs), Case(0))
    assert by_cpu.title.replace(NBSP, " ") == (
        "Order 0, latency by CPU: allocation median 1.01 µs to 4.04 µs"
    )
    panels = by_cpu.figure(palette.LIGHT, titled=False).axes
    assert [panel.get_title("left") for panel in panels] == ["allocation", "free"]
    medians, tails = drawn(panels[0])
    assert medians == ([0, 1], [1010, 4040])
    assert np.isnan(tails[1][0])  # what is not known is not drawn as nothing
    assert tails[1][1:] == [10100]


def test_latencies_are_told_in_the_order_of_time(runs: list[Result]) -> None:
    [_, over_time] = pictures.course(sides.make(runs[:1], runs[1:]), Case(0))
    panels = over_time.figure(palette.LIGHT, titled=False).axes
    medians, *_ = drawn(panels[1])
    assert medians == ([2, 6.5, 10.5], [400, 800, 1200])
    assert panels[1].get_xlabel() == "time measured, s"


def test_older_results_have_no_such_picture(base: list[Result]) -> None:
    assert pictures.course(sides.make(base[:2]), Case(0)) == []
    assert pictures.by_type(sides.make(base[:2]), Case(0)) == []


PAGE = 4096


def test_free_memory_is_told_by_migratetype(base: list[Result], tmp_path: Path) -> None:
    documents = recorded.documents(recorded.BASE)[:2]
    for number, document in enumerate(documents):
        document["run"]["free_by_type"] = [
            seen("idle", "before", 0, Movable=[0, 0, 64], Unmovable=[10, 0, 0]),
            seen("idle", "after", 0, Movable=[0, 0, 64], Unmovable=[10, 0, 0]),
            seen("idle", "before", 4, Movable=[1, 1, 1]),
            seen("steady_wait", "before", 0, Movable=[0, 0, 64], Unmovable=[10, 0, 0]),
            seen("stop", "after", 0, Movable=[40, 10 + number, 32], Unmovable=[10, 0, 0]),
        ]
    runs = results.load_all([recorded.write(tmp_path / "runs", documents)])
    spans = by_type.changes(runs, Case(0))
    assert list(spans) == [("idle", "idle"), ("steady_wait", "stop")]
    [first, second] = spans["steady_wait", "stop"]
    assert list(first.of("Movable") / PAGE) == [40, 20, -128]
    assert list(second.of("Movable") / PAGE) == [40, 22, -128]
    [picture] = pictures.by_type(sides.make(runs), Case(0))  # of idle nothing changed
    assert "steady wait to stop: free memory by migratetype: Movable -268 KiB" in (
        picture.title.replace(NBSP, " ")
    )
    [panel] = picture.figure(palette.LIGHT, titled=False).axes  # nor of Unmovable
    assert [bar.get_height() for bar in panel.patches] == [160, 84, -512]  # KiB


def test_more_blocks_than_the_kernel_counts_are_at_least_so_many(tmp_path: Path) -> None:
    [document] = recorded.documents(recorded.BASE)[:1]
    document["run"]["free_by_type"] = [
        seen("idle", "before", 0, Movable=[None, 1]),
        seen("idle", "after", 0, Movable=[100, 1]),
    ]
    runs = results.load_all([recorded.write(tmp_path / "runs", [document])])
    [change] = by_type.changes(runs, Case(0))["idle", "idle"]
    assert list(change.of("Movable") / PAGE) == [-99_900, 0]


def test_events_are_told_by_the_allocations_of_all_cases_of_a_phase(tmp_path: Path) -> None:
    """The phase of a workload is of an order; its cases are what was allocated in it."""
    run = stepped(tmp_path, 0)
    document = run.document
    document |= {"pairs_allocs_order0": [4_000_000], "pairs_allocs_order0_cpus_1": [1_000_000]}
    document["run"]["phases"].append(
        {**document["run"]["phases"][-1], "name": "pairs", "order": 0, "complete": True,
         "vmstat_delta": {"pgalloc_normal": 20_000_000, "allocstall_normal": 5}}
    )  # fmt: skip
    [again] = results.load_all([recorded.write(tmp_path / "again", [document])])
    rates = counters.per_allocation([again], "pairs", Case(0))
    assert {name: list(values) for name, values in rates.items()} == {
        "pgalloc": [4_000_000], "allocstall": [1],
    }  # fmt: skip
    names = [picture.name for picture in pictures.vmstat(sides.make([again]), Case(0))]
    assert names == ["vmstat-order0", "vmstat-pairs-order0"]

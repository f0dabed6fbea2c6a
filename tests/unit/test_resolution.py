# SPDX-License-Identifier: GPL-2.0-only
"""A latency below the clock's step is never passed off as a latency that was measured."""

from __future__ import annotations

import json
import random
import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import by_schema
import lab
import recorded
from fake_device import FakeDevice
from page_alloc_bench.analysis import compare, per_run, report, results, tidy
from page_alloc_bench.analysis.export import to_kcidb
from page_alloc_bench.cli import main
from page_alloc_bench.runner import options
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.result import clock_step, metrics, summary
from page_alloc_bench.runner.result import document as result
from page_alloc_bench.runner.result.case import SUFFIX
from page_alloc_bench.runner.result.document import Document
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS
from page_alloc_bench.runner.telling import ktap
from page_alloc_bench.runner.workloads import available_memory
from page_alloc_bench.runner.workloads.available_memory.measured import AvailableMemory

JIFFY = 4_000_000  # of a kernel with CONFIG_HZ=250
ALLOC, FREE = "kernel_page_alloc_latencies_ns", "kernel_page_free_latencies_ns"


class Silent:
    def warning(self, text: str) -> None:
        pass


def measured(device: FakeDevice, cpus: list[int], orders: Sequence[int] = (0,)) -> Document:
    """The document of a run whose workers did what device says, at each of the orders."""
    document = Document(
        {
            "kernel": {"release": "6.1", "page_size_bytes": 4096},
            "machine": {"cpus_used": "0-1", "nodes": [{}], "memory_bytes": 1 << 30},
        }
    )
    unused: Any = None
    reporter: Any = Silent()
    fake: Any = device
    bench = Bench(
        options=options.parse([]), cpus=cpus, device=fake, document=document,
        reporter=reporter, signals=unused,
    )  # fmt: skip
    run = AvailableMemory(bench)
    device.configure(
        pattern="antagonist", parameters={"held": 1000}, order=orders[0], seed=1, cpus=cpus,
        time_one_in=64, sample_capacity=1000,
    )  # fmt: skip
    steady = device.progress()
    for order in orders:
        run.collect(order, steady, device.progress())
    document.end(complete=True, reason=None, exit_code=0)
    return document


def mostly_short(rng: random.Random) -> float:
    """Half a microsecond; one in fifty operations takes a few ticks."""
    return 500.0 if rng.random() < 0.98 else rng.uniform(1, 3) * JIFFY


def ticking(timed: int = 1000) -> Document:
    nodes = {0: 0, 1: 0}
    device = FakeDevice(nodes, timed=timed, latency_ns=mostly_short, step_ns=lambda _: JIFFY)
    return measured(device, [0, 1])


def test_operations_below_the_step_are_counted() -> None:
    counts = array("Q", bytes(8 * HIST_BUCKETS))
    counts[0], counts[5], counts[20], counts[-1] = 7, 2, 3, 1
    assert clock_step.below_step(counts, 0) == 7  # a step that nobody knows
    assert clock_step.below_step(counts, 1) == 7
    assert clock_step.below_step(counts, 6) == 9
    assert clock_step.below_step(counts, 20) == 9  # bucket 20 counts what took 20 ns
    assert clock_step.below_step(counts, 21) == 12
    assert clock_step.below_step(counts, 1 << 62) == 12


def test_a_ticking_clock_hides_what_is_shorter_than_a_tick() -> None:
    document = ticking()
    timed = document.get("kernel_page_allocs_timed", 0)[0]
    below = document.get("kernel_page_allocs_below_clock_step", 0)[0]
    zeros = document.get("kernel_page_alloc_latency_histogram", 0)[0]
    assert timed == 2000
    assert below == zeros
    assert 0.95 < below / timed < 1
    alloc, free, failed = document.run["warnings"]
    assert f"{below:,} of 2,000 timed allocations were shorter than 4,000,000 ns" in alloc
    assert "timed frees" in free
    assert "timed failed allocations" in failed


def test_the_counts_are_in_the_schema() -> None:
    known = result.schema()["patternProperties"]
    for name in ("kernel_page_allocs", "kernel_page_frees", "kernel_alloc_failures"):
        assert known[f"^{name}_below_clock_step{SUFFIX}$"]["better"] == "neither"
        timed = metrics.operation_of(f"{name[:-1]}_latencies_ns")
        assert timed is not None
        assert timed.below_step.name == f"{name}_below_clock_step"


def test_the_summary_says_what_is_known_and_no_more() -> None:
    text = summary.render(ticking(), summary.WIDTH)
    row = next(line for line in text.splitlines() if line.strip().startswith("allocation, "))
    unit, samples, least, mean, median, p95, *_, largest = row.split()[1:]
    assert (unit, samples) == ("us", "2,000")
    assert {least, median, p95} == {"<4,000.0"}
    assert mean == "<4,000.0"  # of some forty steps: nobody's mean
    assert largest == "8,000.0"


def test_a_mean_of_many_steps_is_one() -> None:
    device = FakeDevice({0: 0, 1: 0}, timed=1000, step_ns=lambda _: 256)  # User Mode Linux
    document = measured(device, [0, 1])
    row = next(
        line
        for line in summary.render(document, summary.WIDTH).splitlines()
        if " allocation, " in line
    )
    assert row.split()[3] == "<256"  # the least
    assert "<" not in row.split()[4]
    assert document.run["warnings"] == []  # the median is known


def test_a_clock_that_resolves_all_marks_nothing() -> None:
    steps = {0: 20, 1: 150}  # a step is no finer than a reading takes, which differs by CPU
    device = FakeDevice(
        {0: 0, 1: 0}, latency_ns=lambda rng: rng.uniform(160, 900), step_ns=lambda cpu: steps[cpu]
    )
    document = measured(device, [0, 1])
    assert document.get("kernel_page_allocs_below_clock_step", 0)[0] == 0
    assert "<" not in summary.render(document)
    assert document.run["warnings"] == []


@pytest.mark.parametrize(
    ("cost_ns", "told"), [(20, False), (154, False), (280, False), (340, True), (1426, True)]
)
def test_a_clock_is_judged_by_what_its_reading_costs_the_module(cost_ns: int, told: bool) -> None:
    """The typical latency is 650 ns: of 154 ns in it much is not the clock's."""
    device = FakeDevice(
        {0: 0, 1: 0}, latency_ns=lambda rng: rng.uniform(600, 700), clock_cost_ps=cost_ns * 1000
    )
    document = measured(device, [0, 1], orders=[0, 4, 9])
    assert len(document.run["warnings"]) == told  # once, not for each order
    if told:
        assert f"a clock read costs up to {cost_ns:,} ns" in document.run["warnings"][0]
        # The tests of real guests let this one pass, by its words.
        assert lab.SLOW_CLOCK in document.run["warnings"][0]


def test_nothing_is_said_of_the_cost_of_a_clock_that_is_not_known() -> None:
    document = measured(FakeDevice({0: 0}, clock_cost_ps=0), [0])
    assert document.run["clocks"][0]["cost_ps"] is None
    assert document.run["warnings"] == []


def test_of_a_clock_that_never_moved_not_even_the_step_is_known() -> None:
    device = FakeDevice({0: 0}, latency_ns=lambda _: 0.0, step_ns=lambda _: 0)
    document = measured(device, [0])
    assert document.get("kernel_page_allocs_below_clock_step", 0)[0] == 1000
    row = next(
        line
        for line in summary.render(document, summary.WIDTH).splitlines()
        if " allocation, " in line
    )
    assert row.split()[3:] == ["<?"] * 7
    assert "shorter than one step of the clock" in document.run["warnings"][0]


def test_ktap_tells_it_too() -> None:
    told: list[str] = []
    document = ticking()
    document.run["kernel"] = {"release": "6.1.0", "machine": "x86_64"}
    teller = ktap.Ktap(told.append, [0], available_memory.phases([0]))
    teller.loaded(document)
    teller.phase_ended({"name": "results", "order": 0}, None)
    line = next(text for text in told if "kernel_page_alloc_latencies_ns_order0: " in text)
    assert f"min <{JIFFY}, median <{JIFFY}, p99 " in line


def coarse(document: recorded.Document, step_ns: int = JIFFY) -> recorded.Document:
    return recorded.read_by_clock(document, step_ns)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes the first runs of a recorded side, as a coarse clock would have read them."""

    def write(side: Path, name: str, step_ns: int = JIFFY) -> Path:
        documents = recorded.documents(side)[:8]
        return recorded.write(tmp_path / name, [coarse(d, step_ns) for d in documents])

    return write


def test_planted_clocks_give_results_by_the_schema() -> None:
    document = coarse(recorded.documents(recorded.BASE)[0])
    by_schema.hold(document)


def test_a_run_has_bounds_instead_of_quantiles(written: Any) -> None:
    run = results.load(next(written(recorded.BASE, "base").iterdir()))
    figures = {
        statistic.statistic: value
        for statistic, value in per_run.statistics(run).items()
        if (statistic.metric, statistic.order) == (ALLOC, 0)
    }
    assert isinstance(figures["median"], per_run.Below)
    assert figures["median"] == figures["p99"] == JIFFY
    assert not isinstance(figures["max"], per_run.Below)
    assert figures["max"] % JIFFY == 0


def test_what_is_below_the_step_is_shown_so_and_nothing_is_concluded(written: Any) -> None:
    base = results.load_all([written(recorded.BASE, "base")])
    new = results.load_all([written(recorded.NEW, "new")])
    made = compare.compare(base, new)
    rows = {(r.metric, r.statistic): r for r in made.rows if r.order == 0}
    median = rows[ALLOC, "median"]
    assert (median.verdict, median.decides) == ("unknown", True)
    assert median.base.below
    assert (median.change_percent, median.base.low, median.needed) == (None, None, None)
    memory = rows["idle_available_bytes", "median"]
    assert memory.verdict not in ("not tested", "too few boots")
    assert not memory.below
    assert any("allocation median, order 0 is below the step" in text for text in made.warnings)


@pytest.mark.parametrize("form", ["table", "text", "markdown", "csv", "json"])
def test_every_format_of_compare_says_so(form: str, written: Any) -> None:
    base, new = written(recorded.BASE, "base"), written(recorded.NEW, "new")
    done = CliRunner().invoke(
        main, ["compare", str(base), "--vs", str(new), "--format", form], env={"COLUMNS": "120"}
    )
    assert done.exit_code in (0, 2), done.output
    mark = {"csv": ",yes,yes\n", "json": '"below": true', "markdown": "\\<4ms"}.get(form, "<4ms")
    assert mark in done.stdout
    assert "allocation median +" not in done.stdout


def test_one_coarse_side_cannot_be_compared_either(written: Any) -> None:
    base = results.load_all([written(recorded.BASE, "base")])
    new = results.load_all([recorded.NEW])[:8]
    made = compare.compare(base, new, allow=["*"])
    row = next(r for r in made.rows if (r.metric, r.statistic, r.order) == (ALLOC, "median", 0))
    assert (row.base.below, row.new.below, row.verdict) == (True, False, "unknown")


def test_show_says_so(written: Any) -> None:
    path = next(written(recorded.BASE, "base").iterdir())

    def show(*arguments: str) -> str:
        return CliRunner().invoke(main, ["show", str(path), *arguments]).stdout

    assert "<4,000" in show() or "<4.00" in show()
    row = next(line for line in show().splitlines() if line.strip().startswith("<4 ms"))
    assert "█" in row or "#" in row
    assert f"median <{JIFFY}" in show("--metric", f"{ALLOC}_order0")
    told = json.loads(show("--json", "--metric", f"{ALLOC}_order0"))
    assert told["below"]["median"] == JIFFY
    assert "max" not in told["below"] or told["max"] < JIFFY
    plain = json.loads(show("--json", "--metric", "idle_available_bytes_order0"))
    assert "below" not in plain


def test_a_report_says_so(written: Any) -> None:
    base = results.load_all([written(recorded.BASE, "base")])[:2]
    page = report.html(base).replace("\N{NO-BREAK SPACE}", " ")
    assert "&lt;4 ms" in page
    assert re.search("were below the clock(&#39;|')s step, 4 ms: not drawn", page)
    assert "allocation: most operations take less than 4 ms, the clock" in page


def test_a_bound_is_not_exported_as_a_figure(written: Any) -> None:
    run = results.load(next(written(recorded.BASE, "base").iterdir()))
    (given,) = tidy.runs([run], lambda _: None)
    paths = [test["path"] for test in to_kcidb.tests(given, "here", "build")]
    assert not any("alloc_latencies_ns.median" in path for path in paths)
    assert any("idle_available_bytes" in path for path in paths)


def test_classes_have_their_own_counts() -> None:
    document = ticking()
    assert document.get("kernel_alloc_failures_timed", 0)[0] == 3 * 2

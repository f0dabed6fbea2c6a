# SPDX-License-Identifier: GPL-2.0-only
"""--workload exact counts each workload of rates that there is, and tells it in KTAP.

What is made up here: a pattern, and a workload that measures its rate. Neither names exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recorded
from fake_device import FakeDevice
from page_alloc_bench.runner import options, patterns, registry, workload, workloads
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.module.abi import CpuStats, Progress
from page_alloc_bench.runner.result import declared, document, metrics
from page_alloc_bench.runner.telling.ktap import Ktap
from page_alloc_bench.runner.workloads.exact import measured

PATTERN = """
from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.pattern import Pattern

PATTERN = Pattern(
    name="stacks",
    title="stacks of blocks",
    options=(
        Option("stack_height", Integer(1, 99), 7, "blocks of a stack", metavar="BLOCKS",
               unit="blocks", kind="invalidating"),
    ),
    blocks=lambda parameters: parameters["height"],
)
"""

WORKLOAD = """
from page_alloc_bench.runner.measuring import rate

WORKLOAD = rate.workload(
    "stacks",
    isolates="how fast stacks grow",
    variants=lambda options, order, high: [({}, {"height": options.stack_height + order})],
)
"""

METRICS = """
from page_alloc_bench.runner.result import rate_metrics

PHASES = (rate_metrics.phase("stacks"),)
METRICS = rate_metrics.rates("stacks")
"""
COUNTED = ["antagonist", "bursts", "pairs", "stacks"]
OF_PAGES = ["bulk"]  # of order 0 only


@pytest.fixture(autouse=True)
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three more files of declarations, and a host that looks like a guest that counts."""
    for package, text in ((patterns, PATTERN), (workloads, WORKLOAD), (declared, METRICS)):
        directory = tmp_path / package.__name__
        directory.mkdir()
        (directory / "stacks.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(directory)])
    monkeypatch.setattr(measured, "COUNTS", Path("/proc/cmdline").read_text().split()[0])
    monkeypatch.setattr(measured.time, "sleep", lambda _seconds: None)
    registry.forget()
    metrics.forget()
    yield
    monkeypatch.undo()
    registry.forget()
    metrics.forget()


class Counting(FakeDevice):
    """A session whose operations take 700 ns each, and which notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__({0: 0})
        self.asked: list[dict[str, Any]] = []

    def configure(self, **asked: Any) -> None:
        self.asked.append(asked)
        super().configure(**asked)

    def progress(self) -> Progress:
        return Progress(workers=1, steady=1, time_ns=1, allocs=1, oom_held=0, finished=1)

    def cpu_stats(self, cpu: int) -> CpuStats:
        allocs = self.asked[-1]["allocs"]
        return CpuStats(
            cpu=cpu, node=0, last_cpu=cpu, steady=1, allocs=allocs, frees=allocs, failures=0,
            remote=0, clock_cost_ps=0, clock_step_ns=1, begin_ns=1, end_ns=1 + 700 * allocs,
        )  # fmt: skip


def run(told: list[str], device: Counting) -> document.Document:
    asked = options.parse(["--workload", "exact", "--alloc-orders", "0,4"])
    facts = recorded.documents(recorded.BASE)[0]["run"]
    for name in ("phases", "iterations", "warnings", "ended", "complete"):
        facts.pop(name, None)
    made = document.Document({**facts, "parameters": parameters.of_run(asked)})
    ktap = Ktap(told.append, asked.alloc_orders, workload.plan(asked))
    ktap.loaded(made)

    class Reporter:
        def __getattr__(self, _name: str) -> Any:
            return lambda *_arguments, **_named: None

    class Signals:
        @contextlib.contextmanager
        def deferred(self) -> Iterator[None]:
            yield

    bench = Bench(
        options=asked, cpus=[0], device=device, document=made, reporter=Reporter(),  # type: ignore[arg-type]
        signals=Signals(), on_phase_end=ktap.phase_ended,
    )  # fmt: skip
    for each in workload.chosen(asked):
        each.run(bench)
    made.end(complete=True, reason=None, exit_code=0)
    ktap.end(None, unloaded=True, written=None)
    return made


def test_a_new_pattern_of_rates_is_counted_by_itself() -> None:
    device = Counting()
    made = run([], device)
    cases = made.run["exact"]["cases"]
    of_order_0 = sorted(case["pattern"] for case in cases if case["order"] == 0)
    assert of_order_0 == sorted(COUNTED + OF_PAGES)
    assert sorted(case["pattern"] for case in cases if case["order"] == 4) == COUNTED
    for name in COUNTED:
        assert list(made.metrics[f"exact_{name}_instructions_per_1000_operations_order4"]) == [
            700_000
        ]
    # By the defaults of its options.
    asked = [each for each in device.asked if each["pattern"] == "stacks"]
    assert [each["parameters"] for each in asked] == [{"height": 7}] * 2 + [{"height": 11}] * 2


def test_ktap_tells_each_order_once_and_what_was_counted() -> None:
    told: list[str] = []
    run(told, Counting())
    text = "".join(told)
    assert text.count("  ok 1 counted\n") == 2
    assert "not ok" not in text
    assert "SKIP" not in "".join(line for line in told if "written" not in line)
    for name in COUNTED:
        assert f"  # exact_{name}_instructions_per_1000_operations_order0: 700000\n" in text


def test_no_two_workloads_have_a_phase_of_one_name() -> None:
    names = [
        phase.name
        for each in workload.every().values()
        for phase in {each.plan(options.parse([]))[0]: None}
    ]
    assert len(names) == len(set(names))

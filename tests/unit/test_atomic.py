# SPDX-License-Identifier: GPL-2.0-only
"""Atomic allocations beside a process that fills memory: what is asked for, counted and said."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from fake_device import FakeDevice
from page_alloc_bench.runner import options, workload
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.errors import FindlimitError, RunnerError
from page_alloc_bench.runner.kernel import memory, procfs
from page_alloc_bench.runner.measuring import estimate, stall
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.findlimit import measure as findlimit
from page_alloc_bench.runner.module.abi import Gfp, Progress
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result import document, summary
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.telling import workloads

GIB = 1 << 30
MIN_FREE_KIB = 4096
NO_LEDGER: Any = None
LIMIT = findlimit.Limit(
    available_bytes=GIB, rss_bytes=GIB, oom_rss_bytes=GIB, duration_s=1, release_s=1,
    constraint="CONSTRAINT_NONE", oom_free_bytes=0, oom_free_pcp_bytes=0, mem_available_bytes=GIB,
    before=NO_LEDGER, at_kill=None, child_page_tables_bytes=0, warnings=(),
)  # fmt: skip


class Quiet:
    """A reporter and signals that do nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_named: None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        pass

    def deferred(self) -> Quiet:
        return self


class Workers(FakeDevice):
    """Two workers. asked, failed: below the low watermark, of all fills so far, by each."""

    def __init__(self) -> None:
        super().__init__({0: 0, 1: 0})
        self.asked = self.failed = self.displaced = 0
        self.configured: list[dict[str, Any]] = []
        self.running = False

    def configure(self, **what: Any) -> None:
        super().configure(**what)
        self.configured.append(what)
        self.asked = self.failed = 0

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def progress(self) -> Progress:
        made = super().progress()
        made.displaced = self.displaced
        return made

    def latency(self, cpu: int, operation: str, *, sample: bool = True) -> Latency:
        assert not sample  # there is none while workers run
        none = array("Q")
        if operation == "streak":
            return Latency(2, 5, 4 + cpu, none, none)
        return Latency(self.asked, self.failed, 1, none, none)


def measure(
    monkeypatch: pytest.MonkeyPatch, fill: Callable[[Workers], object], *words: str
) -> tuple[document.Document, Workers, str]:
    """Run it on a machine of a GiB; fill is called for each fill. Returns how it ended too."""
    sizes = {"MemTotal": GIB, "MemAvailable": GIB}
    monkeypatch.setattr(procfs, "meminfo", lambda: sizes)
    monkeypatch.setattr(memory, "sysctl", lambda _name: str(MIN_FREE_KIB))
    workers = Workers()

    def fills(_settings: findlimit.Settings, *, on_progress: Callable[[int], object]) -> Any:
        assert workers.running
        on_progress(1 << 20)
        fill(workers)
        on_progress(2 << 20)
        return LIMIT

    monkeypatch.setattr(findlimit, "measure", fills)
    asked = options.parse(["--workload=atomic", *words])
    run = {
        "kernel": {"release": "6.1.0", "machine": "x86_64", "page_size_bytes": 4096},
        "machine": {"cpus_used": "0-1", "nodes": [0], "memory_bytes": GIB},
        "parameters": parameters.of_run(asked), "cpus": [0, 1],
    }  # fmt: skip
    made, quiet, ending = document.Document(run), Quiet(), ""
    bench = Bench(options=asked, cpus=[0, 1], device=workers, document=made,
                  reporter=quiet, signals=quiet)  # type: ignore[arg-type]  # fmt: skip
    try:
        for each in workload.chosen(asked):
            each.run(bench)
    except RunnerError as error:
        ending = str(error)
    assert not workers.running
    made.end(complete=not ending, reason=ending, exit_code=int(bool(ending)))
    return made, workers, ending


def got(made: document.Document, name: str, order: int) -> list[int]:
    return list(made.get(name, Case(order)))


def press(workers: Workers) -> None:
    """Have each of two workers ask for 1000 blocks, of which 3 are not to be had."""
    workers.asked += 1000
    workers.failed += 3


def test_each_fill_has_its_failures_and_each_order_its_streaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, workers, ending = measure(monkeypatch, press, "--fills=2")
    assert not ending
    for order in (0, 3):
        assert got(made, "atomic_pressed_allocs", order) == [1994, 1994]
        assert got(made, "atomic_pressed_failures", order) == [6, 6]
        assert got(made, "atomic_pressed_failures_ppm", order) == [3000, 3000]
        assert got(made, "atomic_longest_streak", order) == [5]
        assert got(made, "atomic_streaks", order) == [4]
    assert "below the low watermark 12 of 4,000 allocations failed" in summary.render(made)
    assert [each["gfp"] for each in workers.configured] == [Gfp.ATOMIC] * 2
    assert not made.run["warnings"]
    schema = document.schema()
    about = schema["properties"]["run"]["properties"]
    for part in ("parameters", "phases", "workloads"):
        checked = {**about[part], "$defs": schema["$defs"]}
        jsonschema.Draft202012Validator(checked).validate(made.run[part])


def test_no_failure_is_a_figure_and_what_the_kernel_kept_is_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spare(workers: Workers) -> None:
        workers.asked += 1000

    made, workers, _ = measure(monkeypatch, spare, "--fills=1")
    assert got(made, "atomic_pressed_failures_ppm", 0) == [0]
    assert "below the low watermark 0 of 2,000 allocations failed" in summary.render(made)
    reserved = {0: MIN_FREE_KIB << 10, 3: (MIN_FREE_KIB << 10) + GIB // 100}
    for case, given in zip(made.run["workloads"][0]["cases"], workers.configured):
        kept = reserved[case["order"]] // 4096
        assert case["parameters"]["reserved_pages"] == kept
        # Four times that, by two CPUs.
        assert given["parameters"]["blocks"] == (4 * kept >> case["order"]) // 2
        assert given["parameters"]["every_ms"] == 40


def test_what_was_never_short_has_no_share_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, ending = measure(monkeypatch, lambda _: None, "--fills=1", "--atomic-orders=0")
    assert not ending
    assert "atomic_pressed_failures_ppm_order0" not in made.metrics
    (warning,) = made.run["warnings"]
    assert "nothing was asked for while memory was short" in warning


def test_a_cpu_that_goes_offline_ends_it_with_what_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lose(workers: Workers) -> None:
        press(workers)
        workers.displaced = workers.asked >= 2000

    monkeypatch.setattr(procfs, "online_cpus", lambda: [0])
    made, _, ending = measure(monkeypatch, lose, "--fills=50")
    assert ending == "atomic, order 0, 2 of 50: CPU 1 has gone offline. Bring it back, or leave " \
        "it out (--cpus)"  # fmt: skip
    assert got(made, "atomic_pressed_allocs", 0) == [1994]
    assert "atomic_allocs_order3" not in made.metrics


def test_a_fill_that_ends_otherwise_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(_workers: Workers) -> None:
        raise FindlimitError("findlimit's child was killed by SIGKILL, but nobody did it")

    made, _, ending = measure(monkeypatch, kill)
    assert ending.startswith("atomic, order 0, 1 of 5: findlimit's child was killed")
    assert got(made, "atomic_allocs", 0) == got(made, "atomic_frees", 0)

    def stick(_workers: Workers) -> None:
        raise stall.StalledError("nothing moves", {"kernel_log": []})

    made, _, ending = measure(monkeypatch, stick)
    assert ending == "order 0, atomic, fill 1: nothing moves"
    assert (made.run["stall"]["phase"], made.run["stall"]["iteration"]) == ("atomic", 1)


def test_bursts_that_others_would_be_short_of_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, ending = measure(monkeypatch, press, "--burst-blocks=20000", "--fills=1")
    (case,) = made.run["workloads"][0]["cases"]
    assert (case["case"], case["held_bytes"]) == ("_order0", 2 * 20000 * 4096)
    (warning,) = made.run["warnings"]
    assert "atomic, order 3: left out: it would use 1250 MiB" in warning
    assert not ending


def test_how_long_it_takes_is_told_by_its_fills() -> None:
    asked = options.parse(["--workload=atomic", "--fills=7"])
    record = {"probe": None, "fill_bytes": 0}
    assert [(step.order, step.fills) for step in estimate.steps(asked, record)] == [(0, 7), (3, 7)]
    told = " ".join(workloads.listed().partition("atomic\n")[2].split())
    assert "takes 10 fills of the memory, 2 with --quick options --atomic-orders" in told

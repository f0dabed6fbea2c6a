# SPDX-License-Identifier: GPL-2.0-only
"""Workloads whose processes use memory, run on the kernel of this machine; and what they count."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from page_alloc_bench.runner import options, workload
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.errors import Interrupted, RunnerError
from page_alloc_bench.runner.kernel import (
    cpu_lists,
    fragmented,
    huge_pages,
    memory,
    migrate_types,
    perf_events,
    procfs,
    watermarks,
)
from page_alloc_bench.runner.kernel.watermarks import Watermarks
from page_alloc_bench.runner.lifetime.signals import STOP_SIGNALS, Signals
from page_alloc_bench.runner.measuring import counting
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.user import populated, slate
from page_alloc_bench.runner.result import document, summary
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, bucket_floor

pytestmark = pytest.mark.skipif(
    not populated.can_populate(), reason="this kernel has no MADV_POPULATE_WRITE"
)

FAULTS = ["--workload=faults", "--page-sizes=base", "--duration-s=0.3"]


class Reporter:
    """Tells nobody; calls something at each tick."""

    def __init__(self, on_tick: Callable[[], object] = lambda: None) -> None:
        self._on_tick = on_tick

    def tick(self, *_told: object) -> None:
        self._on_tick()

    def __getattr__(self, _name: str) -> Any:
        return lambda *_told, **_named: None


def measure(words: list[str], reporter: Any = None, signals: Any = None) -> Any:
    """The document of a run on this machine, on its first CPU."""
    asked = options.parse(words)
    cpu = min(os.sched_getaffinity(0))
    made = document.Document({"parameters": parameters.of_run(asked), "cpus": [cpu]})
    device: Any = None  # these workloads ask nothing of the module
    bench = Bench(options=asked, cpus=[cpu], device=device, document=made,
                  reporter=reporter or Reporter(), signals=signals or Signals())  # fmt: skip
    try:
        for each in workload.chosen(asked):
            each.run(bench)
    finally:
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # no process is left
    return made


def test_faults_counts_what_its_processes_and_threads_populate() -> None:
    made = measure([*FAULTS, "--repeat=2", "--fault-by=processes,threads"])
    for case in ("", "_by_threads"):
        got = {name: made.metrics[f"faults_{name}_order0{case}"] for name in (
            "pages", "pages_per_second", "duration_ns", "populates_timed", "unmaps_timed",
            "inside_kernel_ns", "outside_kernel_ns", "pages_by_vmstat",
        )}  # fmt: skip
        (told,) = (c for c in made.run["workloads"][0]["cases"] if c["case"] == f"_order0{case}")
        pieces, size = told["parameters"]["piece_bytes"], told["parameters"]["mapped_bytes"]
        assert got["pages"][0] * procfs.page_size() == got["populates_timed"][0] * pieces
        assert got["pages"][0] * procfs.page_size() == got["unmaps_timed"][0] * size
        assert len(got["pages_per_second"]) == len(got["duration_ns"]) == 2
        assert got["pages_by_vmstat"][0] > 0.98 * got["pages"][0]
        assert (
            sum(made.metrics[f"faults_populate_latency_histogram_order0{case}"])
            == (got["populates_timed"][0])
        )
        assert got["outside_kernel_ns"][0] < got["inside_kernel_ns"][0]
    checked = document.schema()["properties"]["run"]["properties"]["workloads"]
    jsonschema.Draft202012Validator(checked).validate(made.run["workloads"])


def test_exits_counts_what_dying_processes_give_back() -> None:
    words = ["--workload=exits", "--page-sizes=base", "--exits=2", "--exit-processes=3",
             "--exit-mib=8"]  # fmt: skip
    made = measure(words)
    pages = 2 * 3 * (8 << 20) // procfs.page_size()
    assert list(made.metrics["exits_pages_order0"]) == [pages]
    assert made.metrics["exits_pages_by_vmstat_order0"][0] > 0.98 * pages
    durations, backs = (made.metrics[f"exits_{n}_ns_order0"] for n in ("duration", "back"))
    assert len(durations) == len(backs) == len(made.metrics["exits_bare_ns_order0"]) == 2
    for took, rate in zip(durations, made.metrics["exits_pages_per_second_order0"]):
        assert rate == pytest.approx(pages / 2 * 1e9 / took, rel=1e-6, abs=1)


HUGEALLOC = ["--workload=hugealloc", "--duration-s=2", "--repeat=1", "--churn-percent=50"]


def small_machine(monkeypatch: pytest.MonkeyPatch, boost_mib: int = 12) -> int:
    """Have a workload see a machine of 256 MiB, and return what is available there, in bytes."""
    if huge_pages.why_not(huge_pages.huge_order()):
        pytest.skip("no huge pages here")
    available = 256 << 20
    sizes = {**procfs.meminfo(), "MemAvailable": available}
    kept = Watermarks(*(mib << 20 >> 12 for mib in (5, 8, boost_mib)))
    monkeypatch.setattr(procfs, "meminfo", lambda *_path: sizes)
    monkeypatch.setattr(watermarks, "read", lambda: kept)
    monkeypatch.setattr(cpu_lists, "most_pages", lambda: 256)
    return available


def test_hugealloc_asks_at_its_pace_beside_churn_and_counts_what_it_got(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    available = small_machine(monkeypatch)
    made = measure([*HUGEALLOC, "--huge-per-second=4"])
    order = huge_pages.huge_order()

    def one(name: str) -> int:
        (value,) = made.metrics[f"hugealloc_{name}_order{order}"]
        return int(value)

    assert one("asked_pages") == 2 * 4
    assert one("huges_timed") == one("huge_pages")
    assert one("huges_timed") + one("fallbacks_timed") == 2 * 4
    assert one("churned_pages") > 0
    assert one("burst_ns") * 2 >= one("huge_latency_sum_ns") + one("fallback_latency_sum_ns")
    (case,) = made.run["workloads"][0]["cases"]
    assert case["parameters"]["huge_per_second"] == 4
    # A sixth of what is churned, and what the kernel keeps for itself, is free here and there.
    sizes = case["parameters"]
    kept = sizes["churn_bytes"] - sizes["scattered_bytes"]
    assert kept == pytest.approx(available // 2 * 5 / 6, abs=4 << 20)
    assert available // 2 < case["held_bytes"] <= available
    assert sizes["held_huge_pages"] >= 0


def test_hugealloc_leaves_what_the_kernel_may_come_to_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Watermarks that rise while all but them is in use call the OOM killer."""
    available = small_machine(monkeypatch, boost_mib=60)
    # Of 264 MiB, 132 are churned, and of these five in six are not given back.
    monkeypatch.setattr(memory, "free_bytes", lambda: 154 << 20)
    made = measure([*HUGEALLOC, "--huge-per-second=1", "--churn-percent=90"])
    (case,) = made.run["workloads"][0]["cases"]
    sizes = case["parameters"]
    workers = len(case["cpus"])
    most = workers * sizes["churn_bytes"]
    may_keep = (5 + 60 + 1) << 20
    assert most <= available + (8 << 20) - may_keep
    after = most - workers * sizes["scattered_bytes"] + (sizes["held_huge_pages"] << 21)
    assert after <= available + (8 << 20) - may_keep


def test_hugealloc_ends_where_what_moves_memory_beside_it_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_machine(monkeypatch)

    class Killing(Reporter):
        def tick(self, text: str = "", *_told: object) -> None:
            if text.endswith("1 of 3"):  # it is the first process that was started
                children = f"/proc/self/task/{os.getpid()}/children"
                with open(children) as listed:
                    os.kill(int(listed.read().split()[0]), signal.SIGKILL)

    with pytest.raises(RunnerError, match=r"hugealloc, churn: process [0-9]+ has ended"):
        measure([*HUGEALLOC, "--repeat=3", "--huge-per-second=4"], Killing())


def test_hugealloc_leaves_room_beside_what_is_churned() -> None:
    for wrong in ("--churn-percent=91", "--churn-percent=0", "--huge-per-second=0"):
        with pytest.raises(SystemExit) as ended:
            options.parse(["--workload=hugealloc", wrong])
        assert ended.value.code == 2


def test_what_a_run_is_cut_short_by_leaves_no_process_and_keeps_what_is_whole() -> None:
    signals = Signals()
    numbers = (*STOP_SIGNALS, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    signals.install()
    seen: list[int] = []

    def interrupt() -> None:
        seen.append(1)
        if len(seen) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with pytest.raises(Interrupted):
            measure(
                ["--workload=faults", "--page-sizes=base", "--duration-s=9"],
                Reporter(interrupt), signals,
            )  # fmt: skip
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_process_that_is_killed_is_the_end_of_the_run_and_said() -> None:
    def kill() -> None:
        for entry in os.listdir("/proc/self/task"):
            path = f"/proc/self/task/{entry}/children"
            for pid in (procfs.read_or_none(path) or "").split():
                os.kill(int(pid), signal.SIGKILL)

    with pytest.raises(RunnerError, match=r"process \d+ has ended"):
        measure(FAULTS, Reporter(kill))


def test_sizes_that_are_not_to_be_had_are_left_out_with_the_reason() -> None:
    made = measure(["--workload=faults", "--page-sizes=1048576k"])
    assert not made.metrics
    (absent,) = made.run["workloads"][0]["absent"]
    assert "this kernel has no" in absent["why"]
    assert absent["why"] in made.run["warnings"][0]
    assert huge_pages.why_not(0) is None
    assert huge_pages.why_not(huge_pages.huge_order() + 1) is not None


def test_a_worker_counts_latencies_in_the_buckets_of_the_module() -> None:
    rng = random.Random(1)
    found = [rng.randrange(1 << rng.randrange(1, 44)) for _ in range(3000)] + [0, 15, 16, 31, 32]
    for ns in found:
        index = slate.bucket(ns)
        assert bucket_floor(index) <= ns
        assert ns < bucket_floor(index + 1) or index == HIST_BUCKETS - 1
    board = slate.Slate(2, 2, 100)
    note = board.timer(1, 1, 7).note
    for ns in found:
        note(ns)
    latency = board.latency(1, 1)
    assert (latency.timed, latency.total_ns, latency.max_ns) == (
        len(found), sum(found), max(found)
    )  # fmt: skip
    assert sum(latency.histogram) == len(found)
    assert len(latency.sample) == 100
    assert set(latency.sample) <= set(found)
    # Not only the first ones, nor the last.
    assert 20 < sum(ns in set(found[:1500]) for ns in latency.sample) < 80
    assert not any(board.latency(*other).timed for other in ((0, 0), (0, 1), (1, 0)))


def test_the_summary_says_what_the_benchmark_itself_costs() -> None:
    made = measure([*FAULTS, "--repeat=1"])
    made.run.update(
        kernel={"release": "6.1.0", "page_size_bytes": procfs.page_size()},
        machine={"cpus_used": "0", "nodes": [0], "memory_bytes": 1 << 30},
    )
    made.end(complete=True, reason=None, exit_code=0)
    assert "% of the time was the benchmark's own" in summary.render(made)


def test_fragment_is_said_to_take_longer_for_more_memory_and_more_cases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(words: str, total: int) -> float:
        monkeypatch.setattr(procfs, "meminfo", lambda *_path: {"MemTotal": total})
        asked = options.parse(["--workload=fragment", f"--keep-pages={words}"])
        return workload.every()["fragment"].seconds_of(asked, 9)["fragment"]

    one = seconds("pinned", 1 << 30)
    assert seconds("pinned", 64 << 30) > one > 5  # as long as lists are waited for
    assert seconds("pinned,islands", 1 << 30) == pytest.approx(2 * one)


def test_how_fragmented_free_memory_is_by_buddyinfo() -> None:
    table = {"node 0 Normal": [10, 5, 0, 2, 1], "node 1 Normal": [4, 0, 1, 0, 0]}
    assert fragmented.free_blocks(table, 3) == 2 + 2
    assert fragmented.free_blocks(table, 0) == 10 + 10 + 16 + 16 + 4 + 4
    assert fragmented.unusable_permille(table, 3) == (60 - 32) * 1000 // 60
    assert fragmented.unusable_permille({"node 0 Normal": [0, 0]}, 1) == 0


def test_figures_of_events_are_of_what_could_be_counted_only() -> None:
    counts = {"refilled": 630, "direct": 5, "drained": 640, "refills": 10, "drains": 4,
              "extfrag": 3, "cycles": 5_000_000}  # fmt: skip
    found = counting.figures(counts, 1000, 1)
    assert found["refilled_pages"] == 1260
    assert found["pages_per_refill"] == 126
    assert found["pages_per_drain"] == 320
    assert found["lock_holds_per_1000_pages"] == round(19 * 1000 / 2000)
    assert found["cycles_per_1000_operations"] == 5_000_000
    assert "extfrag_converted" not in found
    assert "instructions_per_1000_operations" not in found
    del counts["refills"]
    fewer = counting.figures(counts, 1000, 1)
    assert not {"pages_per_refill", "lock_holds_per_1000_pages"} & set(fewer)


def test_what_this_host_cannot_count_is_missing_and_never_zero() -> None:
    asked = {"none": perf_events.Event(tracepoint="kmem/no_such_thing"), **counting.of_rates()}
    with perf_events.Counters(asked, sorted(os.sched_getaffinity(0))) as counters:
        found = counters.read()
    assert set(found) | set(counters.missing) == set(asked)
    assert not set(found) & set(counters.missing)
    assert "none" in counters.missing
    assert all(counters.missing.values())


def test_the_number_of_a_migrate_type_is_what_this_kernel_says() -> None:
    types = migrate_types.parse(
        "Page block order: 9\nPages per block:  512\n\n"
        "Free pages count per migrate type at order       0      1\n"
        "Node    0, zone   Normal, type    Unmovable      1      2\n\n"
        "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic\n"
        "Node 0, zone   Normal            1            2            0            0\n"
    )
    assert types is not None
    assert (types.block_order, types.number("Movable"), types.number("HighAtomic")) == (9, 1, 3)
    assert migrate_types.parse("") is None

# SPDX-License-Identifier: GPL-2.0-only
"""What is measured, and what is not, by --workload, and what a workload of rates may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fake_device import FakeDevice
from page_alloc_bench.runner import options, workload
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.errors import RunnerError, UsageError
from page_alloc_bench.runner.kernel import cgroup, cpu_lists, procfs, topology
from page_alloc_bench.runner.measuring import estimate
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.result import document, figures, summary
from page_alloc_bench.runner.result.case import split_key
from page_alloc_bench.runner.telling import workloads
from page_alloc_bench.runner.telling.ktap import Ktap

# /proc/zoneinfo of 6.1 and, in its second half, with what newer kernels have more.
ZONEINFO = """\
Node 0, zone      DMA
  pages free     3968
        managed  3840
  pagesets
    cpu: 0
              count: 0
              high:  50
              batch: 1
    cpu: 1
              count: 0
              high:  50
              batch: 1
Node 0, zone   Normal
  pages free     77000
      nr_free_pages 77000
  pagesets
    cpu: 0
              count: 11
              high:  400
              batch: 63
  vm stats threshold: 24
    cpu: 1
              count: 31
              high:  420
              batch: 63
  node_unreclaimable:  0
Node 0, zone  Movable
  pages free     0
Node 1, zone   Normal
  pagesets
    cpu: 0
              count: 5
              high:  9000
              high_min: 800
              high_max: 20000
              batch: 63
"""


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        options.parse(list(words))
    assert ended.value.code == 2
    return capfd.readouterr().err


def test_nothing_given_is_the_run_of_always() -> None:
    asked = options.parse([])
    assert asked.workload == ["available-memory"]
    recorded = parameters.of_run(asked)
    assert "workload" not in recorded
    assert not {"depth", "free", "duration_s", "repeat", "cpus_steps", "gfp"} & set(recorded)
    assert recorded["iterations"] == 5


def test_all_is_every_workload_once_and_names_keep_their_order() -> None:
    every = [each.name for each in workload.every().values() if each.in_all]
    assert {"available-memory", "pairs", "bursts"} <= set(every)
    assert options.parse(["--workload=all"]).workload == every
    assert options.parse(["--workload=pairs,bursts,pairs"]).workload == ["pairs", "bursts"]
    assert options.parse(["--workload=pairs,all"]).workload[0] == "pairs"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--workload=pairs", "--iterations=3"], "--iterations is for --workload available-mem"),
        (["--workload=pairs", "--thp=never"], "--thp is for --workload available-memory only"),
        (["--workload=bursts", "--no-swap"], "--no-swap is for --workload available-memory only"),
        (["--workload=bursts", "--held=3"], "--held is for --workload available-memory only"),
        (["--workload=pairs", "--depth=3"], "--depth is for --workload bursts only"),
        (
            ["--repeat=3"],
            "--repeat is for --workload bulk or bursts or ",
        ),
        (["--gfp=user"], "this run measures available-memory"),
        (["--workload=pair"], "no workload is called pair. Did you mean pairs?"),
        (["--workload=bursts", "--depth=0"], "'0' is not a depth"),
        (["--workload=bursts", "--depth=h/0"], "'h/0' is not a depth"),
        (["--workload=bursts", "--depth=16,2h,16"], "'16' is given more than once"),
        (["--workload=bursts", "--free=backwards"], "is not one of fifo, lifo, random"),
        (["--workload=pairs", "--gfp=highmem"], "is not one of kernel, user, nowait, atomic"),
        (
            ["--workload=pairs", "--gfp=user+big"],
            "'big' is not one of comp, account, zero, thisnode",
        ),
        (["--workload=pairs", "--gfp=user+zero+comp,user+comp+zero"], "given more than once"),
        (["--workload=pairs", "--cpus-steps=0"], "neither a number of CPUs nor all"),
        (["--workload=pairs", "--duration-s=0"], "--duration-s=0 measures nothing"),
        (["--list-workloads", "--info"], "not allowed with"),
    ],
)
def test_what_does_not_belong_together_is_named(
    words: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert told in " ".join(refused(capfd, *words).split())


def test_quick_takes_less_of_everything_but_what_is_given() -> None:
    asked = options.parse(["--workload=all", "--quick", "--repeat=4"])
    assert (asked.iterations, asked.duration_s, asked.repeat) == (1, 2.0, 4)
    assert parameters.of_run(asked)["iterations"] == 1
    slow = options.parse(["--workload=bursts"])
    short = options.parse(["--workload=bursts", "--quick"])
    record = {"probe": None, "fill_bytes": 0}
    seconds = [sum(s.all_s for s in estimate.steps(each, record)) for each in (slow, short)]
    assert seconds[1] < seconds[0] / 5


def test_the_list_says_what_each_isolates_and_takes_and_which_options_it_has() -> None:
    told = " ".join(workloads.listed().split())
    for each in workload.every().values():
        assert f"{each.name} " in told
        assert each.isolates in told
    assert "options --depth --free --duration-s --repeat --cpus-steps --counters --gfp" in told


def test_an_order_that_a_workload_cannot_measure_takes_no_time() -> None:
    """The kernel allocates in bulk single pages only."""
    record = {"probe": None, "fill_bytes": 0}

    def seconds(words: str) -> float:
        return sum(s.all_s for s in estimate.steps(options.parse(words.split()), record))

    one = seconds("--workload=bulk --alloc-orders=0")
    assert one > 0
    assert seconds("--workload=bulk --alloc-orders=0,4,9") == one
    assert seconds("--workload=pairs --alloc-orders=0,4") == pytest.approx(
        2 * seconds("--workload=pairs --alloc-orders=0")
    )
    told = " ".join(workloads.listed().partition("bulk\n")[2].split())
    assert f"takes {estimate.duration(one)} for order 0," in told


def test_a_step_of_more_cpus_than_there_are_is_refused_before_anything_is_done() -> None:
    (pairs,) = workload.chosen(options.parse(["--workload=pairs"]))
    asked = options.parse(["--workload=pairs", "--cpus-steps=1,3"])
    with pytest.raises(UsageError, match="this run has 2 CPU"):
        pairs.fits(asked, [0, 1])
    pairs.fits(asked, [0, 1, 2])


def test_what_zoneinfo_says_of_the_lists_of_each_cpu() -> None:
    zones = cpu_lists.parse(ZONEINFO.splitlines(keepends=True))
    assert [zone.record() for zone in zones][1:] == [
        {
            "zone": "node 0 zone Normal", "count_pages": 42,
            "high": {"400": "0", "420": "1"}, "batch": {"63": "0-1"},
        },
        {
            "zone": "node 1 zone Normal", "count_pages": 5, "high": {"9000": "0"},
            "high_min": {"800": "0"}, "high_max": {"20000": "0"}, "batch": {"63": "0"},
        },
    ]  # fmt: skip
    # What grows by itself is not what a burst is measured in.
    assert cpu_lists.high_pages(zones[2:], [0, 1]) == 800
    assert cpu_lists.high_pages(zones, [0, 1]) == 400
    assert cpu_lists.high_pages(zones, [1]) == 420
    assert cpu_lists.high_pages([], [0]) == 0


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


def measure(monkeypatch: pytest.MonkeyPatch, available: int, *words: str) -> tuple[Any, str]:
    """The document of a run on a machine with so much available memory, and its KTAP."""
    zones = cpu_lists.parse(ZONEINFO.splitlines())
    monkeypatch.setattr(cpu_lists, "read", lambda: zones)
    monkeypatch.setattr(procfs, "meminfo", lambda: {"MemAvailable": available})
    asked = options.parse(["--duration-s=0.01", *words])
    run = {
        "kernel": {"release": "6.1.0", "machine": "x86_64", "page_size_bytes": 4096},
        "machine": {"cpus_used": "0-1", "nodes": [0], "memory_bytes": 1 << 30},
        "parameters": parameters.of_run(asked), "cpus": [0, 1],
    }  # fmt: skip
    made = document.Document(run)
    told: list[str] = []
    ktap = Ktap(told.append, asked.alloc_orders, workload.plan(asked))
    ktap.loaded(made)
    device: Any = FakeDevice({0: 0, 1: 0}, timed=200)
    quiet: Any = Quiet()
    bench = Bench(options=asked, cpus=[0, 1], device=device, document=made, reporter=quiet,
                  signals=quiet, on_phase_end=ktap.phase_ended)  # fmt: skip
    ending: RunnerError | None = None
    try:
        for each in workload.chosen(asked):
            each.run(bench)
    except RunnerError as error:
        ending = error
    ktap.end(ending, unloaded=True, written=True)
    made.end(complete=ending is None, reason=str(ending), exit_code=int(ending is not None))
    return made, "".join(told)


ALL = ("--workload=pairs,bursts", "--repeat=2", "--cpus-steps=1,all", "--gfp=kernel,atomic",
       "--depth=16,h/2", "--free=fifo,random", "--alloc-orders=0,4")  # fmt: skip


def test_each_case_has_a_name_of_its_own_and_a_table_in_the_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, told = measure(monkeypatch, 8 << 30, *ALL)
    assert made.run["complete"]
    names = [name for name in made.metrics if name.startswith("pairs_allocs_per_second_order0")]
    assert names == [
        "pairs_allocs_per_second_order0_cpus_1",
        "pairs_allocs_per_second_order0_cpus_1_gfp_atomic",
        "pairs_allocs_per_second_order0",
        "pairs_allocs_per_second_order0_gfp_atomic",
    ]
    rate = "bursts_allocs_per_second_order4"
    assert f"{rate}_cpus_1_depth_h-over-2_free_random_gfp_atomic" in made.metrics
    assert len([name for name in made.metrics if name.startswith(f"{rate}_")]) == 16
    text = summary.render(made)
    for name in made.metrics:
        metric, case = split_key(name)
        assert f"{case} (" in text
        if metric.endswith("_latencies_ns") and "atomic" not in name:
            assert figures.of(made.get, made.run, metric, case).size
        assert f"{name}: " in told or not metric.endswith("_allocs_per_second")
    assert told.count("\n  ok 1 pairs") == told.count("\n  ok 2 bursts") == 2
    assert "antagonized" not in told
    written = json.loads("".join(made.chunks()))
    assert "idle_available_bytes_order0" not in written


def test_the_result_is_what_the_schema_says(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = measure(monkeypatch, 8 << 30, *ALL)
    schema = document.schema()
    about = schema["properties"]["run"]["properties"]
    for part in ("parameters", "phases", "pcp", "workloads"):
        checked = {**about[part], "$defs": schema["$defs"]}
        jsonschema.Draft202012Validator(checked).validate(made.run[part])
    moments = [(each["phase"], each["order"], each["moment"]) for each in made.run["pcp"]]
    assert moments[:2] == [("pairs", 0, "before"), ("pairs", 0, "after")]
    assert len(moments) == 8
    depths = {case["case"]: case["parameters"] for case in made.run["workloads"][1]["cases"]}
    assert depths["_order0_depth_16_free_random"] == {"depth": 16, "release": 2}
    assert depths["_order0_depth_h-over-2"] == {"depth": 200, "release": 0}
    assert depths["_order4_depth_h-over-2"] == {"depth": 200 >> 4, "release": 0}


def test_what_would_hold_a_quarter_of_what_is_available_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("--workload=bursts", "--alloc-orders=0", "--depth=16,1000")
    made, _ = measure(monkeypatch, 24 << 20, *words)
    assert made.run["complete"]
    assert {case["case"] for case in made.run["workloads"][0]["cases"]} == {"_order0_depth_16"}
    (warning,) = made.run["warnings"]
    assert "depth 1000: left out: it would hold up to 7 MiB" in warning
    made, told = measure(monkeypatch, 1 << 20, *words, "--depth=100,1000")
    assert not made.run["complete"]
    assert "no case could be measured" in made.run["ended"]["reason"]
    assert "not ok" in told


def test_what_the_cpus_do_not_allow_is_absent_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "places", lambda cpus: {c: topology.Place(c, 0) for c in cpus})
    words = ("--workload=remote,funnel", "--alloc-orders=0", "--cpus-steps=1,all", "--repeat=2")
    made, told = measure(monkeypatch, 8 << 30, *words)
    assert made.run["complete"]
    remote, funnel = made.run["workloads"]
    (case,) = remote["cases"]
    assert (case["case"], case["peers"]) == ("_order0_distance_core", [1, 0])
    assert {each["case"] for each in remote["absent"]} == {
        f"_order0{step}_distance_{far}"
        for step in ("", "_cpus_1")
        for far in ("smt", "core", "node")
    } - {"_order0_distance_core"}
    assert [case["peers"] for case in funnel["cases"]] == [[1, 1]]
    assert len(made.metrics["remote_ring_cost_ps_order0_distance_core"]) == 2
    assert list(made.metrics["funnel_ring_full_order0"]) == [2 * 2 * 5]
    assert not made.run["warnings"]
    assert "\n  ok 1 remote\n" in told
    made, told = measure(monkeypatch, 8 << 30, "--workload=remote", "--distance=smt")
    assert made.run["complete"]
    (warning,) = made.run["warnings"]
    assert "remote: not measured: no two of its CPUs are so far from each other" in warning
    assert "ok 1 remote # SKIP not on this host or kernel" in told


def test_what_the_kernel_does_not_have_is_absent_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--workload=bulk,pairs", "--per-call=1,64", "--repeat=1")
    made, told = measure(monkeypatch, 8 << 30, *words)
    bulk = made.run["workloads"][0]
    assert [each["case"] for each in bulk["cases"]] == ["_order0_pages_1", "_order0_pages_64"]
    assert [each["case"] for each in bulk["absent"]] == ["_order4_pages_1", "_order4_pages_64"]
    assert {each["why"] for each in bulk["absent"]} == {
        "the kernel does it with single pages only, which are of order 0"
    }
    made, _ = measure(monkeypatch, 8 << 30, *words, "--gfp=user,user+zero+account")
    absent = {each["case"]: each["why"] for each in made.run["workloads"][0]["absent"]}
    assert "only one page at a time" in absent["_order0_gfp_user-account-zero_pages_64"]
    monkeypatch.setattr(FakeDevice, "lacks", lambda _device, pattern: pattern == "bulk")
    made, told = measure(monkeypatch, 8 << 30, *words)
    assert made.run["complete"]
    bulk, pairs = made.run["workloads"]
    assert not bulk["cases"]
    assert {each["why"] for each in bulk["absent"]} == {"this kernel does not have what it calls"}
    assert pairs["cases"]
    assert made.run["warnings"] == ["bulk: not measured: this kernel does not have what it calls"]
    assert "ok 1 bulk # SKIP" in told


def test_a_cpu_that_goes_while_the_rings_run_without_blocks_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the last thing that is measured of a case, and as bad a figure as any."""
    configure, stats = FakeDevice.configure, FakeDevice.cpu_stats
    fake: list[int] = []

    def asked(device: FakeDevice, **named: Any) -> None:
        fake[:] = [named["parameters"]["fake"]]
        configure(device, **named)

    def counted(device: FakeDevice, cpu: int) -> Any:
        seen = stats(device, cpu)
        seen.displaced = fake[0]
        return seen

    monkeypatch.setattr(FakeDevice, "configure", asked)
    monkeypatch.setattr(FakeDevice, "cpu_stats", counted)
    made, told = measure(monkeypatch, 8 << 30, "--workload=funnel", "--repeat=1")
    assert not made.run["complete"]
    assert "funnel, order 0, 1 of 1: a worker lost its CPU" in made.run["ended"]["reason"]
    assert "not ok 1 funnel" in told


@pytest.mark.parametrize(
    ("group", "advice"),
    [(None, ""), (None, "systemd-run"), ("", "systemd-run"), ("a.scope", "cgroup.memory=nokmem")],
)
def test_what_is_not_charged_is_said(
    group: str | None, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged, top = not advice, Path("/sys/fs/cgroup")
    own = None if group is None else cgroup.MemoryCgroup(top / group, top, 2)
    stats = FakeDevice.cpu_stats

    def counted(device: FakeDevice, cpu: int) -> Any:
        seen = stats(device, cpu)
        seen.charged = int(charged)
        return seen

    monkeypatch.setattr(FakeDevice, "cpu_stats", counted)
    monkeypatch.setattr(cgroup, "own", lambda: own)
    words = ("--workload=pairs", "--gfp=user+zero+account,kernel", "--repeat=2")
    made, _ = measure(monkeypatch, 8 << 30, *words)
    cases = {each["case"]: each for each in made.run["workloads"][0]["cases"]}
    assert cases["_order0_gfp_user-account-zero"]["gfp"] == "user+account+zero"
    assert cases["_order0_gfp_user-account-zero"]["charged"] is charged
    assert "charged" not in cases["_order0"]
    assert len(made.run["warnings"]) == (0 if charged else 1)  # once, not in each case
    assert advice in " ".join(made.run["warnings"])
    assert "pairs_allocs_order0_gfp_user-account-zero" in made.metrics

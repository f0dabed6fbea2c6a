# SPDX-License-Identifier: GPL-2.0-only
"""The main job as users do it: scp, ssh, sudo, result.json, and a host left as it was."""

from __future__ import annotations

import json
import re
import statistics
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.runner.workloads import available_memory
from page_alloc_bench.targets.guest import Guest
from users_host import bench, traces

CONTRACTED = (
    "idle_available_bytes",
    "antagonized_available_bytes",
    "kernel_page_allocs",
    "kernel_alloc_failures",
    "kernel_page_allocs_remote",
    "kernel_page_alloc_latencies_ns",
    "kernel_page_free_latencies_ns",
)
HUGE_PAGE = 2 << 20
CPUS = 4

Result = dict[str, Any]

QUIET = (
    "--iterations 1 --alloc-orders 2 --quiet --output-path out.json --latencies=false "
    "--cpus 1-2 --held 300 --spread 200 --seed 7 --thp never"
)


@pytest.fixture(scope="module")
def quiet(guest: Guest, bundle: Path) -> CompletedProcess[str]:
    """The first run of a boot: it finds memory that was never touched; figures settle after it."""
    guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
    return bench(guest, QUIET)


@pytest.fixture(scope="module")
def host(guest: Guest, quiet: CompletedProcess[str]) -> Guest:
    return guest


@pytest.fixture(scope="module")
def job(host: Guest) -> dict[str, Any]:
    """One whole run with the default orders, and what was there before and after it."""
    before, free = traces(host), lab.free_bytes(host)
    host.run("dmesg --clear")
    started = time.monotonic()
    done = bench(host, "--iterations 2")
    return {
        "done": done,
        "seconds": time.monotonic() - started,
        "before": before,
        "after": traces(host),
        "free": [free, lab.free_bytes(host)],
        "dmesg": host.dmesg(),
        "result": json.loads(done.stdout) if done.stdout else {},
    }


def test_the_whole_job_ends_with_a_valid_result(job: dict[str, Any]) -> None:
    assert job["done"].returncode == 0, job["done"].stderr
    result = job["result"]
    by_schema.hold(result)
    assert result["run"]["complete"] is True
    assert lab.warnings_but_preflights(result) == []
    for order in (0, 4):
        for name in CONTRACTED:
            values = result[f"{name}_order{order}"]
            assert all(isinstance(value, int) for value in values), name
        assert len(result[f"idle_available_bytes_order{order}"]) == 2
        assert len(result[f"antagonized_available_bytes_order{order}"]) == 2


def test_the_host_is_left_as_it_was(job: dict[str, Any]) -> None:
    assert job["after"] == job["before"]
    assert job["after"]["module"] == job["after"]["processes"] == ""
    before, after = job["free"]
    assert after > before * 0.995
    assert not re.search(r"WARNING|BUG|Oops|INFO: ", job["dmesg"])


def test_available_bytes_are_witnessed_and_repeat(job: dict[str, Any]) -> None:
    result = job["result"]
    for order in (0, 4):
        for phase in ("idle", "antagonized"):
            counted = result[f"{phase}_available_bytes_order{order}"]
            resident = result[f"{phase}_available_rss_bytes_order{order}"]
            for count, rss in zip(counted, resident):
                assert count == pytest.approx(rss, abs=max(0.001 * rss, CPUS * HUGE_PAGE))


def test_what_idle_iterations_differ_by_is_what_the_kernel_left_lying(job: dict[str, Any]) -> None:
    """It may call for the OOM killer with tens of MiB free on the lists that each CPU keeps."""
    result = job["result"]
    for order in (0, 4):
        taken = result[f"idle_available_bytes_order{order}"]
        left = [
            iteration["oom_free_bytes"] + iteration["oom_free_pcp_bytes"]
            for iteration in result["run"]["iterations"]
            if (iteration["order"], iteration["phase"]) == (order, "idle")
        ]
        total = [sum(pair) for pair in zip(taken, left)]
        assert statistics.stdev(total) / statistics.mean(total) < 0.005


def test_what_the_antagonist_holds_is_what_user_space_lacks(job: dict[str, Any]) -> None:
    """Each iteration, taken with what was held and what lay free at its kill, is the machine."""
    result = job["result"]
    for order in (0, 4):
        totals: dict[str, list[int]] = {"idle": [], "antagonized": []}
        for entry in result["run"]["iterations"]:
            if entry["order"] == order:
                index = entry["iteration"] - 1
                total = result[f"{entry['phase']}_available_bytes_order{order}"][index]
                total += entry["oom_free_bytes"] + entry["oom_free_pcp_bytes"]
                if entry["phase"] == "antagonized":
                    total += result[f"antagonist_held_bytes_order{order}"][index]
                totals[entry["phase"]].append(total)
        idle, antagonized = (statistics.mean(values) for values in totals.values())
        assert antagonized == pytest.approx(idle, rel=0.01), totals


def test_the_memory_that_nobody_got_is_explained(job: dict[str, Any]) -> None:
    """What each item of the report says adds up to the machine, and nothing went astray."""
    result = job["result"]
    for entry in result["run"]["iterations"]:
        before, kill = entry["memory_before"], entry["memory_at_kill"]
        assert (
            before["total_bytes"] == kill["total_bytes"] == result["run"]["machine"]["memory_bytes"]
        )
        held = 0
        if entry["phase"] == "antagonized":
            held = result[f"antagonist_held_bytes_order{entry['order']}"][entry["iteration"] - 1]
        else:
            # Whatever the child did not get was in a counter of the kernel already before it, or
            # is in one now, to half a percent of the machine.
            grown = kill["unnamed_bytes"] - before["unnamed_bytes"]
            assert abs(grown) < 0.005 * kill["total_bytes"], entry
        got = result[f"{entry['phase']}_available_bytes_order{entry['order']}"]
        parts = {
            name: result[f"{entry['phase']}_left_{name}_bytes_order{entry['order']}"]
            for name in ("free", "pcp", "user", "slab", "page_tables", "kernel_stack", "unnamed")
        }
        index = entry["iteration"] - 1
        total = got[index] + held + sum(values[index] for values in parts.values())
        assert total == pytest.approx(kill["total_bytes"], rel=0.001), entry


def test_the_kernels_counters_agree_with_ours(job: dict[str, Any]) -> None:
    result = job["result"]
    fills = result["run"]["parameters"]["iterations"]
    for phase in result["run"]["phases"]:
        killed = fills if phase["name"] in ("idle", "antagonized") else 0
        assert phase["vmstat_delta"].get("oom_kill", 0) == killed
    for order in (0, 4):
        for word in ("allocated", "freed"):
            (kernel,) = result[f"kernel_pages_{word}_by_vmstat_order{order}"]
            (ours,) = result[f"kernel_pages_{word}_by_us_order{order}"]
            captured = handed_over(result, order) if word == "allocated" else 0
            assert ours - captured <= kernel < ours * 1.02 + 65536


def handed_over(result: dict[str, Any], order: int) -> int:
    """Return how many pages direct compaction may have handed over, which are not counted."""
    deltas = [
        each["vmstat_delta"]
        for each in result["run"]["phases"]
        if each["order"] == order and each["name"] in ("steady_wait", "antagonized", "stop")
    ]
    return sum(delta.get("compact_success", 0) for delta in deltas) * 512


def test_every_oom_kill_was_of_the_child(job: dict[str, Any]) -> None:
    killed = re.findall(r"Killed process \d+ \(([^)]*)\)", job["dmesg"])
    fills = job["result"]["run"]["parameters"]["iterations"]
    assert killed == ["pab-findlimit"] * 2 * 2 * fills  # idle and antagonized, two orders


def test_every_cpu_worked(job: dict[str, Any]) -> None:
    result = job["result"]
    for order in (0, 4):
        per_cpu = result[f"kernel_page_allocs_per_cpu_order{order}"]
        assert len(per_cpu) == CPUS
        assert min(per_cpu) / max(per_cpu) > 0.3
        assert sum(per_cpu) == result[f"kernel_page_allocs_order{order}"][0]
        assert result[f"kernel_page_frees_order{order}"] == [sum(per_cpu)]


def test_histograms_hold_all_that_was_timed_and_samples_are_bounded(job: dict[str, Any]) -> None:
    result = job["result"]
    for order in (0, 4):
        for kind in ("alloc", "free"):
            name = f"kernel_page_{kind}"
            timed = result[f"{name}s_timed_order{order}"][0]
            counts = result[f"{name}_latency_histogram_order{order}"]
            bounds = result[f"{name}_latency_histogram_bounds_ns_order{order}"]
            sample = result[f"{name}_latencies_ns_order{order}"]
            longest = result[f"{name}_latency_max_ns_order{order}"][0]
            assert sum(counts) == timed
            assert len(bounds) == len(counts) + 1
            assert bounds[-2] <= longest < bounds[-1]
            assert len(sample) == min(50_000, timed)
            assert bounds[0] <= min(sample) <= max(sample) <= longest
            # The sample and the histogram tell the same story.
            below = sum(1 for ns in sample if ns < bounds[len(bounds) // 2])
            share = sum(counts[: len(bounds) // 2]) / timed
            assert below / len(sample) == pytest.approx(share, abs=0.02)


def test_rates_follow_from_counts_and_durations(job: dict[str, Any]) -> None:
    result = job["result"]
    for order in (0, 4):
        rate = result[f"kernel_page_allocs_per_second_order{order}"][0]
        count = result[f"kernel_page_allocs_steady_order{order}"][0]
        seconds = result[f"antagonist_steady_duration_ns_order{order}"][0] / 1e9
        assert rate == pytest.approx(count / seconds, rel=0.001)
    phases = result["run"]["phases"]
    assert [(phase["name"], phase["order"]) for phase in phases] == available_memory.phases((0, 4))
    total = sum(phase["duration_s"] for phase in phases)
    assert 0.5 * job["seconds"] < total < job["seconds"]


def test_counts_are_those_of_workers_and_child_and_of_the_phases(job: dict[str, Any]) -> None:
    """The workers go on between two phases, which a busy host draws out: no phase has that."""
    result = job["result"]
    for order in (0, 4):
        phases = sum(
            value
            for phase in result["run"]["phases"]
            if phase["order"] == order and phase["name"] in ("steady_wait", "antagonized", "stop")
            for name, value in phase["vmstat_delta"].items()
            if name.startswith("pgalloc_")
        )
        (kernel,) = result[f"kernel_pages_allocated_by_vmstat_order{order}"]
        assert 0.5 * kernel < phases <= kernel
        ours = result[f"kernel_page_allocs_order{order}"][0] << order
        child = sum(result[f"antagonized_available_rss_bytes_order{order}"]) // 4096
        assert ours + child == pytest.approx(kernel, rel=0.02)


def test_progress_and_summary_are_on_stderr_only(job: dict[str, Any]) -> None:
    said = job["done"].stderr
    for words in ("order 4, antagonized, iteration 2 of 2", "idle memory", "p99.9"):
        assert words in said
    assert "\r" not in said
    assert job["done"].stdout.lstrip().startswith("{")


def test_quiet_says_nothing_and_a_file_gets_the_result(
    host: Guest, quiet: CompletedProcess[str]
) -> None:
    assert (quiet.returncode, quiet.stdout, lab.said(quiet.stderr)) == (0, "", "")
    result = json.loads(host.run("cat out.json && sudo rm out.json", user="bench").stdout)
    by_schema.hold(result)
    assert result["run"]["cpus"] == [1, 2]
    parameters = result["run"]["parameters"]
    assert (parameters["held"], parameters["spread"], parameters["seed"]) == (300, 200, 7)
    assert parameters["latencies"] == "none"
    assert result["kernel_page_alloc_latencies_ns_order2"] == []
    assert result["kernel_page_allocs_order2"][0] > 0

# SPDX-License-Identifier: GPL-2.0-only
"""Workloads whose processes use memory: what the kernel counts of them, and how they end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S, in_a_guest

BENCH = "/root/bench.run"
SHORT = "--duration-s 1 --repeat 1 --output-path /root/result.json"
THP = "/sys/kernel/mm/transparent_hugepage"


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="1G") as guest:
        guest.copy_to(bundle, BENCH)
        yield guest


def run(host: Guest, options: str, code: int = 0) -> dict[str, Any]:
    done = host.run(f"{BENCH} {options} {SHORT}", check=False, timeout=PATIENCE_S)
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(host.run("cat /root/result.json").stdout)
    by_schema.hold(result)
    return result


def in_phase(result: dict[str, Any], order: int, prefix: str) -> int:
    """What the kernel counted over the phase of an order."""
    (phase,) = [each for each in result["run"]["phases"] if each["order"] == order]
    return sum(n for name, n in phase["vmstat_delta"].items() if name.startswith(prefix))


def pages(result: dict[str, Any], workload: str, order: int) -> int:
    """The base pages that a workload counts in all cases of an order."""
    keys = [key for key in result if key.startswith(f"{workload}_pages_order{order}")]
    return sum(sum(result[key]) for key in keys)


def test_faults_are_those_that_the_kernel_counts(host: Guest) -> None:
    result = run(host, "--workload faults --fault-by processes,threads --cpus-steps 1,all")
    assert lab.warnings_but_preflights(result) == []
    for order in (0, 9):
        ours = pages(result, "faults", order)
        assert in_phase(result, order, "pgalloc_") == pytest.approx(ours, rel=0.05, abs=20_000)
        assert in_phase(result, order, "pgfault") >= ours >> order
        assert in_phase(result, order, "pgfree") == pytest.approx(ours, rel=0.05, abs=20_000)
    of_huge = pages(result, "faults", 9) >> 9
    assert in_phase(result, 9, "thp_fault_alloc") == pytest.approx(of_huge, rel=0.02)
    assert sum(result["faults_huge_pages_order9"]) > 0
    assert result["faults_huge_fallbacks_order9"] == [0]
    assert {case["case"] for case in result["run"]["workloads"][0]["cases"]} >= {
        "_order0", "_order0_by_threads", "_order0_by_threads_cpus_1", "_order9_cpus_1"
    }  # fmt: skip
    (own,), (kernel,) = (result[f"faults_{s}side_kernel_ns_order0"] for s in ("out", "in"))
    assert own / (own + kernel) < 0.05
    assert sum(result["faults_populate_latency_histogram_order0"]) * 512 == pages(
        {"faults_pages_order0": result["faults_pages_order0"]}, "faults", 0
    )


def test_sizes_that_a_host_does_not_give_are_left_out_and_said(host: Guest) -> None:
    result = run(host, "--workload faults --page-sizes 64k,base")
    assert lab.warnings_but_preflights(result) == []
    (absent,) = result["run"]["workloads"][0]["absent"]
    assert absent == {"case": "_order4", "why": "this kernel has no hugepages of 64kB"}
    host.run(f"echo never > {THP}/enabled")
    try:
        result = run(host, "--workload faults --page-sizes thp")
    finally:
        host.run(f"echo madvise > {THP}/enabled")
    (said,) = lab.warnings_but_preflights(result)
    assert "faults: not measured: they are switched off; to have them: echo madvise >" in said


def await_children(host: Guest) -> None:
    assert in_a_guest(lambda: "pab-user" in host.run("ps -eo comm").stdout)
    time.sleep(1.5)


@pytest.mark.parametrize(
    ("options", "do", "code"),
    [
        ("faults", "kill -9 $(cat /root/pid)", None),
        ("faults --fault-by threads", "kill -INT $(cat /root/pid)", 130),
        ("faults", "pkill -9 -o pab-user", 1),
    ],
)
def test_every_page_is_back_however_it_ends(
    host: Guest, options: str, do: str, code: int | None
) -> None:
    before = lab.free_bytes(host)
    process = host.popen(
        f"echo $$ > /root/pid; exec {BENCH} --workload {options} --duration-s 20 --repeat 1 "
        "--output-path /root/cut.json >/dev/null 2>&1"
    )
    try:
        await_children(host)
        host.run(do, check=False)
        ended = process.wait(PATIENCE_S)
        if code is not None:
            assert ended == code
            assert json.loads(host.run("cat /root/cut.json").stdout)["run"]["complete"] is False
    finally:
        process.kill()
    traces = "ps -eo comm | grep ^pab; grep page_alloc_bench /proc/modules"
    assert in_a_guest(lambda: host.run(traces, check=False).stdout == "")
    assert lab.await_free(host, before * 0.995) >= before * 0.995

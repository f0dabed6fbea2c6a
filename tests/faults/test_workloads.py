# SPDX-License-Identifier: GPL-2.0-only
"""Workloads that fill nothing: what they isolate, as the kernel counts it, and how they end."""

from __future__ import annotations

import json
import re
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
TRACING = "/sys/kernel/tracing"
LOCKED = "mm_page_alloc_zone_locked"  # a block taken out of a zone: include/trace/events/kmem.h
# On from the start: to switch them on later patches code that emulated CPUs execute meanwhile.
TRACED = f"trace_event=kmem:{LOCKED}"
SHORT = "--duration-s 1 --repeat 1 --output-path /root/result.json"


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="512M", cmdline_extra=TRACED) as guest:
        guest.copy_to(bundle, BENCH)
        guest.run(
            f"mountpoint -q {TRACING} || mount -t tracefs none {TRACING}\n"
            f"mkdir {TRACING}/instances/ours && cd {TRACING}/instances/ours\n"
            f"echo 'comm ~ \"pab/*\"' > events/kmem/{LOCKED}/filter\n"
            f"echo 64 > buffer_size_kb; echo 1 > events/kmem/{LOCKED}/enable"
        )
        guest.run(
            f"{BENCH} --workload pairs {SHORT}", timeout=PATIENCE_S
        )  # what is taken only once
        yield guest


def run(host: Guest, options: str, code: int = 0) -> dict[str, Any]:
    done = host.run(f"{BENCH} {options} {SHORT}", check=False, timeout=PATIENCE_S)
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(host.run("cat /root/result.json").stdout)
    by_schema.hold(result)
    return result


def locked(host: Guest) -> int:
    """How many blocks the workers have taken out of a zone since the last time."""
    text = host.run(
        f"cd {TRACING}/instances/ours; cat per_cpu/cpu*/stats; echo > trace; echo 1 > tracing_on"
    ).stdout
    return sum(map(int, re.findall(r"^(?:entries|overrun): (\d+)", text, re.MULTILINE)))


@pytest.mark.parametrize(
    ("options", "case", "least", "most"),
    [
        ("pairs --alloc-orders 0", "_order0", 0.0, 0.01),
        ("pairs --alloc-orders 4", "_order4", 0.99, 1.01),
        ("pairs --alloc-orders 3", "_order3", 0.0, 0.01),
        ("bursts --alloc-orders 0 --depth h/2", "_order0_depth_h-over-2", 0.0, 0.1),
        ("bursts --alloc-orders 0 --depth 16h", "_order0_depth_16h", 0.7, 1.01),
        ("bursts --alloc-orders 4 --depth 16", "_order4_depth_16", 0.99, 1.01),
        # At an equal pace the list of a CPU is refilled by what it frees. How equal the pace is, is
        # chance; the test below has what is sure.
        ("remote --alloc-orders 0 --distance core", "_order0_distance_core", 0.0, 1.01),
        ("remote --alloc-orders 4 --distance core", "_order4_distance_core", 0.99, 1.01),
        ("funnel --alloc-orders 0", "_order0", 0.95, 1.01),
    ],
)
def test_the_kernel_counts_what_a_workload_isolates(
    host: Guest, options: str, case: str, least: float, most: float
) -> None:
    locked(host)
    result = run(host, f"--workload {options}")
    workload = options.split(maxsplit=1)[0]
    (allocs,) = result[f"{workload}_allocs{case}"]
    assert result[f"{workload}_frees{case}"] == [allocs]
    assert result[f"{workload}_alloc_failures{case}"] == [0]
    assert least <= locked(host) / allocs <= most
    # The kernel's other counters say that the blocks were really asked for.
    (phase,) = result["run"]["phases"]
    pages = sum(n for name, n in phase["vmstat_delta"].items() if name.startswith("pgalloc_"))
    order = phase["order"]
    assert pages == pytest.approx(allocs << order, rel=0.02, abs=20_000)
    zones = result["run"]["pcp"][0]["zones"]
    assert {"high", "batch", "count_pages", "zone"} <= set(zones[-1])


def test_only_blocks_that_the_lists_keep_come_back_from_them(host: Guest) -> None:
    """The lists of a CPU keep blocks of an order of up to PAGE_ALLOC_COSTLY_ORDER, which is 3."""
    result = run(host, "--workload remote --alloc-orders 0,4 --distance core")

    def share(path: str, order: int) -> float:
        (ppm,) = result[f"remote_{path}_ppm_order{order}_distance_core"]
        return float(ppm / 1_000_000)

    assert share("hit_alloc", 0) >= 0.9
    assert share("put_free", 0) >= 0.9
    assert share("bypass_alloc", 4) >= 0.9
    assert share("drain_free", 4) >= 0.9


def test_counters_tell_what_passes_the_lock_of_the_zone(host: Guest) -> None:
    result = run(
        host, "--workload pairs,bursts --alloc-orders 0,4 --depth 2h --counters --cpus-steps 2"
    )

    def one(name: str, order: int) -> int:
        workload = name.partition("_")[0]
        depth = "_depth_2h" if workload == "bursts" else ""
        (value,) = result[f"{name}_order{order}{depth}"]
        return int(value)

    for order in (0, 4):
        assert one("pairs_counted_pages", order) > 0
        assert one("pairs_lock_holds_per_1000_pages", order) == pytest.approx(
            1000 / 16 if order else 0, rel=0.1, abs=1
        )
    assert one("pairs_zone_pages", 4) == pytest.approx(one("pairs_counted_pages", 4), rel=0.05)
    assert one("pairs_refilled_pages", 0) < 0.01 * one("pairs_counted_pages", 0)
    # Half of a burst of 2h stays on the list, or more.
    pages = one("bursts_counted_pages", 0)
    assert 0.3 * pages < one("bursts_refilled_pages", 0) < 1.1 * pages
    assert 0.3 * pages < one("bursts_drained_pages", 0) < 1.1 * pages
    (batch,) = {int(n) for n in result["run"]["pcp"][0]["zones"][-1]["batch"]}
    assert 0.8 * batch <= one("bursts_pages_per_refill", 0) <= batch
    assert one("bursts_pages_per_drain", 0) >= batch
    # The guest has no counters of the CPU.
    for event in ("cycles", "instructions", "cache_misses"):
        assert f"pairs_{event}_per_1000_operations_order0" not in result
    said = lab.warnings_but_preflights(result)
    assert all("--counters: this host cannot count these" in text for text in said)
    assert all("cycles (No such file or directory)" in text for text in said)
    assert said


def await_workers(host: Guest) -> None:
    assert in_a_guest(lambda: "pab/" in host.run("ps -eo comm").stdout)
    time.sleep(1.5)


@pytest.mark.parametrize(
    ("workload", "do", "code"),
    [
        ("pairs --alloc-orders 4", "kill -9 $(cat /root/pid)", None),
        ("bursts --alloc-orders 0 --depth 16h", "pkill -9 -f bench.run", None),
        ("bursts --alloc-orders 4 --depth 16h", "kill -INT $(cat /root/pid)", 130),
        ("bursts --alloc-orders 0 --depth 16h", "echo 0 > /sys/devices/system/cpu/cpu1/online", 1),
        ("remote --alloc-orders 4", "kill -9 $(cat /root/pid)", None),
        ("funnel --alloc-orders 4", "pkill -9 -f bench.run", None),
        ("remote --alloc-orders 4", "echo 0 > /sys/devices/system/cpu/cpu1/online", 1),
        ("funnel --alloc-orders 4", "echo 0 > /sys/devices/system/cpu/cpu1/online", 1),
        ("funnel --alloc-orders 4 --duration-s 60 --timeout-s 15", "true", 124),
        ("pairs --counters --repeat 1 --duration-s 2", "sleep 7; pkill -9 -f bench.run", None),
        (
            "remote --alloc-orders 4",
            "kill -STOP $(cat /root/pid); sleep 5; "
            "kill -CONT $(cat /root/pid); kill -INT $(cat /root/pid)",
            130,
        ),
    ],
)
def test_every_page_is_back_however_it_ends(
    host: Guest, workload: str, do: str, code: int | None
) -> None:
    before = lab.free_bytes(host)
    options = "--duration-s 8 --repeat 1 --output-path /root/cut.json"
    process = host.popen(
        f"echo $$ > /root/pid; exec {BENCH} {options} --workload {workload} >/dev/null 2>&1"
    )
    try:
        await_workers(host)
        host.run(do, check=False)
        ended = process.wait(PATIENCE_S)
        if code is not None:
            assert ended == code
            cut = json.loads(host.run("cat /root/cut.json").stdout)
            assert cut["run"]["complete"] is False
            assert "CPU 1 has gone offline" in cut["run"]["ended"]["reason"] or code != 1
    finally:
        process.kill()
        host.run("echo 1 > /sys/devices/system/cpu/cpu1/online", check=False)
    assert in_a_guest(lambda: lab.traces(host) == "")
    assert lab.await_free(host, before * 0.999) >= before * 0.999

# SPDX-License-Identifier: GPL-2.0-only
"""Fragmented memory: whether it is, what the kernel counts of it, and how a run ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab
from faults.huge_page_runs import BENCH, end_and_find_every_page_back, guest, run
from page_alloc_bench.targets.guest import Guest

HUGE_BYTES = 2 << 20  # of x86-64
PID = "$(cat /root/pid)"
CASES = {"pinned": "_order9", "islands": "_order9_keep_islands", "movable": "_order9_keep_movable"}


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with guest(bundle) as booted:
        yield booted


def total_bytes(host: Guest) -> int:
    return 1024 * int(host.run("awk '/^MemTotal:/ {print $2}' /proc/meminfo").stdout)


@pytest.fixture(scope="module")
def measured(host: Guest) -> tuple[dict[str, Any], float, float]:
    """A whole run, and the bytes that were free before and after it."""
    before = lab.free_bytes(host)
    result = run(host, "fragment")
    return result, before, lab.await_free(host, before * 0.999)


@pytest.mark.parametrize("kept", CASES)
def test_memory_is_fragmented_and_then_whole_again(
    host: Guest, measured: tuple[dict[str, Any], float, float], kept: str
) -> None:
    result, _, _ = measured

    def one(name: str) -> int:
        (value,) = result[f"fragment_{name}{CASES[kept]}"]
        return int(value)

    taken, before, fragmented = one("taken_blocks"), one("blocks_before"), one("blocks_fragmented")
    assert 0.3 * before <= taken <= 0.55 * before
    assert before - fragmented >= 0.5 * taken
    assert one("unusable_permille") >= 250
    assert fragmented <= one("huge_pages") <= one("huge_pages_free")
    # There are more huge pages than fit beside the blocks taken only if these became whole.
    fit = total_bytes(host) // HUGE_BYTES - taken
    if kept == "movable":
        assert one("huge_pages") > fit
        assert one("migrated_pages") > 0
        assert one("scanned_pages") > 0
    else:
        assert one("huge_pages") <= fit
        assert one("fallbacks_timed") > 0
        assert one("compact_fails") > 0
    assert one("blocks_recovered") >= 0.7 * before  # about half are left while they are kept
    timed = sum(result[f"fragment_huge_latency_histogram{CASES[kept]}"])
    assert timed == one("huge_pages")


def test_pages_of_the_kernel_cannot_be_moved_and_those_of_processes_can(host: Guest) -> None:
    """With short lists of the CPUs, where up to 10,000 free pages hide what could be moved."""
    host.run("sysctl -qw vm.percpu_pagelist_high_fraction=1000000")
    try:
        result = run(host, "fragment --keep-pages pinned,movable")
    finally:
        host.run("sysctl -qw vm.percpu_pagelist_high_fraction=0")
    (pinned,) = result[f"fragment_could_be_huge_permille{CASES['pinned']}"]
    (movable,) = result[f"fragment_could_be_huge_permille{CASES['movable']}"]
    assert movable - pinned > 200


def test_the_kernel_counts_the_same(measured: tuple[dict[str, Any], float, float]) -> None:
    """The counts of the cases are parts of those of the phase, which the bench takes itself."""
    result, _, _ = measured
    (phase,) = result["run"]["phases"]
    delta = phase["vmstat_delta"]
    for name, counter in (
        ("huge_pages", "thp_fault_alloc"), ("compact_stalls", "compact_stall"),
        ("migrated_pages", "pgmigrate_success"),
    ):  # fmt: skip
        ours = sum(sum(result[f"fragment_{name}{case}"]) for case in CASES.values())
        assert 0 < ours <= delta[counter]
    huge = sum(sum(result[f"fragment_huge_pages{case}"]) for case in CASES.values())
    assert huge == delta["thp_fault_alloc"]


def test_nobody_is_killed_and_every_page_is_back(
    host: Guest, measured: tuple[dict[str, Any], float, float]
) -> None:
    result, before, after = measured
    assert after >= before * 0.999
    assert lab.warnings_but_preflights(result) == []
    assert "oom_kill" not in {
        name for name, n in result["run"]["phases"][0]["vmstat_delta"].items() if n
    }
    assert "Out of memory" not in host.dmesg()


def test_memory_that_is_as_whole_as_before_is_not_called_fragmented(host: Guest) -> None:
    """The kernel seems to say all the time what it said before: a copy is mounted over it."""
    before = lab.free_bytes(host)
    host.run(
        "cat /proc/buddyinfo > /root/buddyinfo && mount --bind /root/buddyinfo /proc/buddyinfo"
    )
    try:
        result = run(host, "fragment --keep-pages pinned", code=1)
    finally:
        host.run("umount /proc/buddyinfo")
    assert result["run"]["complete"] is False
    reason = result["run"]["ended"]["reason"]
    (whole,) = result["fragment_blocks_before_order9"]
    assert f"not fragmented: of {whole:,} whole blocks {whole:,} are left" in reason
    assert result["fragment_blocks_fragmented_order9"] == [whole]
    assert "fragment_huge_pages_order9" not in result
    assert lab.traces(host) == ""
    assert lab.await_free(host, before * 0.999) >= before * 0.999


@pytest.mark.parametrize(
    ("workload", "do", "code"),
    [
        ("fragment --keep-pages pinned", f"kill -9 {PID}", None),
        ("fragment --keep-pages movable", "pkill -9 -f '[b]ench.run'", None),
        ("fragment --keep-pages islands", f"kill -INT {PID}", 130),
        ("fragment --keep-pages pinned", "pkill -9 -o pab-user", 1),
        # Stopped until its time is over, so that this comes while pages are kept.
        ("fragment --timeout-s 60", f"kill -STOP {PID} && sleep 60 && kill -CONT {PID}", 124),
    ],
)
def test_every_page_is_back_however_it_ends(
    host: Guest, tmp_path: Path, workload: str, do: str, code: int | None
) -> None:
    true = f"pieces() > {0.3 * lab.whole_blocks(host)}"
    end_and_find_every_page_back(host, tmp_path, workload, (true, do), code)


def test_a_cpu_that_goes_offline_ends_it_and_every_page_is_back(host: Guest) -> None:
    before = lab.free_bytes(host)
    process = host.popen(
        f"exec {BENCH} --workload fragment --keep-pages islands --output-path /root/cut.json "
        ">/dev/null 2>&1"
    )
    try:
        deadline = time.monotonic() + 300
        while "pab/" not in host.run("ps -eo comm").stdout:
            assert time.monotonic() < deadline
        host.run("echo 0 > /sys/devices/system/cpu/cpu1/online")
        assert process.wait(300) == 1
        cut = json.loads(host.run("cat /root/cut.json").stdout)
        assert "CPU 1 has gone offline" in cut["run"]["ended"]["reason"]
    finally:
        process.kill()
        host.run("echo 1 > /sys/devices/system/cpu/cpu1/online", check=False)
    deadline = time.monotonic() + 30
    while (left := lab.traces(host)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == ""
    assert lab.await_free(host, before * 0.999) >= before * 0.999

# SPDX-License-Identifier: GPL-2.0-only
"""Atomic allocations when memory is short: what the kernel counts of them, and how a run ends."""

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
EVENT = "mm_page_alloc"  # of each allocation, had or not: include/trace/events/kmem.h
# What our workers ask for, in 6.1, and what interrupts do not that come meanwhile: GFP_ATOMIC is
# __GFP_HIGH, __GFP_ATOMIC and __GFP_KSWAPD_RECLAIM, and __GFP_NOWARN is 0x2000.
OURS = f'comm ~ "pab/*" && gfp_flags == {0x20 | 0x200 | 0x800 | 0x2000}'
INSTANCES = {"asked": OURS, "failed": f"{OURS} && pfn == {(1 << 64) - 1}"}
# On from the start: to switch it on later patches code that emulated CPUs execute meanwhile.
TRACED = f"{lab.CLEAR_FAST} trace_event=kmem:{EVENT}"

FILLS = 6


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="1G", cmdline_extra=TRACED) as guest:
        guest.copy_to(bundle, BENCH)
        guest.run(
            f"mountpoint -q {TRACING} || mount -t tracefs none {TRACING}\n"
            f"echo 'order == 99' > {TRACING}/events/kmem/{EVENT}/filter"
        )
        for name, where in INSTANCES.items():
            guest.run(
                f"mkdir {TRACING}/instances/{name} && cd {TRACING}/instances/{name}\n"
                f"echo '{where}' > events/kmem/{EVENT}/filter\n"
                f"echo 64 > buffer_size_kb; echo 1 > events/kmem/{EVENT}/enable"
            )
        yield guest


def run(host: Guest, options: str, code: int = 0) -> dict[str, Any]:
    done = host.run(
        f"{BENCH} --workload atomic {options} --output-path /root/result.json",
        check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(host.run("cat /root/result.json").stdout)
    by_schema.hold(result)
    return result


def counted(host: Guest) -> dict[str, int]:
    """What the kernel counted of our workers since the last time."""
    found = {}
    for name in INSTANCES:
        text = host.run(
            f"cd {TRACING}/instances/{name}; cat per_cpu/cpu*/stats; echo > trace"
        ).stdout
        found[name] = sum(map(int, re.findall(r"^(?:entries|overrun): (\d+)", text, re.MULTILINE)))
    return found


@pytest.mark.parametrize("order", [0, 3])
def test_failures_are_those_that_the_kernel_counts(host: Guest, order: int) -> None:
    before = lab.free_bytes(host)
    # A sixth of the memory is asked for at once, and the kernel keeps a hundredth. Where the OOM
    # killer is faster than a burst, a fill has no failure: one in three, on a busy machine.
    host.run("sysctl -q vm.min_free_kbytes=8192")
    counted(host)
    result = run(host, f"--atomic-orders {order} --fills {FILLS} --burst-blocks {20_000 >> order}")
    kernel = counted(host)

    def one(name: str) -> int:
        (value,) = result[f"atomic_{name}_order{order}"]
        return int(value)

    assert one("allocs") == one("frees") > 0
    assert one("allocs") + one("failures") == kernel["asked"]
    assert one("failures") == kernel["failed"] > 0
    failed = result[f"atomic_pressed_failures_order{order}"]
    had = result[f"atomic_pressed_allocs_order{order}"]
    assert 0 < sum(failed) <= one("failures")
    assert len(failed) == len(had) == FILLS
    assert result[f"atomic_pressed_failures_ppm_order{order}"] == [
        round(some * 1e6 / (some + more)) for some, more in zip(failed, had)
    ]
    assert one("failures") / one("streaks") <= one("longest_streak") <= one("failures")
    (phase,) = result["run"]["phases"]
    assert phase["vmstat_delta"]["oom_kill"] == FILLS
    stalls = sum(n for name, n in phase["vmstat_delta"].items() if name.startswith("allocstall"))
    assert 0 < one("reclaim_stalls") <= stalls
    assert lab.warnings_but_preflights(result) == []
    # Of the child the kernel may say so: it is refused its last page when the OOM killer has it.
    refused = re.findall(r"(\S+): page allocation failure", host.dmesg())
    assert set(refused) <= {"pab-findlimit"}
    assert lab.await_free(host, before * 0.999) >= before * 0.999


def test_failures_occur_with_what_is_asked_for_by_default(host: Guest) -> None:
    result = run(host, f"--fills {FILLS}")
    for order in (0, 3):
        assert sum(result[f"atomic_pressed_allocs_order{order}"]) > 0
    assert sum(sum(result[f"atomic_failures_order{order}"]) for order in (0, 3)) > 0


def await_filling(host: Guest) -> None:
    """Wait until workers ask and a process fills memory: between two fills there is none."""
    assert in_a_guest(
        lambda: "pab/1" in (seen := host.run("ps -eo comm").stdout) and "pab-findlimit" in seen
    )


@pytest.mark.parametrize(
    ("options", "do", "code", "why"),
    [
        ("", "kill -9 $(cat /root/pid)", None, ""),
        ("--atomic-orders 3", "pkill -9 -f '[b]ench.run'", None, ""),
        ("", "kill -INT $(cat /root/pid)", 130, ""),
        (
            "",
            "while kill -0 $(cat /root/pid); do pkill -9 pab-findlimit; sleep 0.2; done",
            1,
            "killed by SIGKILL",
        ),
        ("", "echo 0 > /sys/devices/system/cpu/cpu1/online", 1, "CPU 1 has gone offline"),
        ("--timeout-s 40", "true", 124, ""),
    ],
)
def test_every_page_is_back_however_it_ends(
    host: Guest, options: str, do: str, code: int | None, why: str
) -> None:
    before = lab.free_bytes(host)
    process = host.popen(
        f"echo $$ > /root/pid; exec {BENCH} --workload atomic --fills 50 {options} "
        "--output-path /root/cut.json >/dev/null 2>&1"
    )
    try:
        await_filling(host)
        host.run(do, timeout=PATIENCE_S)
        ended = process.wait(PATIENCE_S)
        if code is not None:
            assert ended == code
            cut = json.loads(host.run("cat /root/cut.json").stdout)
            assert cut["run"]["complete"] is False
            assert why in cut["run"]["ended"]["reason"]
            assert cut["atomic_allocs_order0"] == cut["atomic_frees_order0"]
    finally:
        process.kill()
        host.run("echo 1 > /sys/devices/system/cpu/cpu1/online", check=False)
    deadline = time.monotonic() + PATIENCE_S
    while (left := lab.traces(host)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == ""
    assert lab.await_free(host, before * 0.999) >= before * 0.999

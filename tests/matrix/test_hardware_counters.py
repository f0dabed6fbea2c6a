# SPDX-License-Identifier: GPL-2.0-only
"""What CPUs count, where they have counters: QEMU emulates those of arm64, not those of x86_64.

Counting instructions as time, one takes a nanosecond, and a cycle of the emulated counter does too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import by_schema
from page_alloc_bench.targets import bootable, kernel_bundle
from page_alloc_bench.targets.machine import machine
from page_alloc_bench.targets.serial import OUTPUT, SerialGuest
from page_alloc_bench.targets.unpacked import unpack

pytestmark = pytest.mark.seconds(60)

OPTIONS = "--workload pairs --quick --counters --alloc-orders 0,4 --quiet"
NS = 1_000_000_000


def test_what_the_cpu_counts_is_what_the_clock_and_the_workers_say(tmp_path: Path) -> None:
    kernel = bootable.find("6.12-arm64")
    kernel_bundle.build(kernel, tmp_path / "bench.run")
    bundle = unpack(tmp_path / "bench.run", tmp_path / "bundle", "/root/bundle")
    guest = SerialGuest(kernel.image, machine(1, 1, "1G", icount=True, arch=kernel.arch))
    command = " ".join([*bundle.command, OPTIONS, f"--output-path {OUTPUT}/result.json"])
    done = guest.run(f"LC_ALL=C.UTF-8 {command}\n", bundle.files)
    assert done.status == 0, guest.console
    result = json.loads(done.files["result.json"])
    by_schema.hold(result)
    for order in (0, 4):
        instructions, cycles, rate = (
            result[f"pairs_{name}_order{order}"][0]
            for name in (
                "instructions_per_1000_operations",
                "cycles_per_1000_operations",
                "allocs_per_second",
            )
        )
        assert cycles == pytest.approx(instructions, rel=1e-4)
        # Of another pass, without what counting costs, and with the interrupts of the clock.
        assert instructions / 1000 == pytest.approx(NS / rate, rel=0.05)
    # What this CPU does not count is told, and has no figure.
    assert any("cache-misses" in warning for warning in result["run"]["warnings"])
    assert not [name for name in result if "cache_misses" in name]

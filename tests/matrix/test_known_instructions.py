# SPDX-License-Identifier: GPL-2.0-only
"""A module whose loop has known instructions and accesses to memory: each is counted."""

from __future__ import annotations

import pytest

import lab
from page_alloc_bench.targets import kernels, where
from page_alloc_bench.targets.machine import machine
from page_alloc_bench.targets.serial import OUTPUT, SerialGuest

pytestmark = pytest.mark.seconds(20)

TURNS = 1_000_000
# tests/kmod/known says what one of its turns is.
INSTRUCTIONS, ATOMICS, LOADS, STORES = 16, 1, 9, 4


@pytest.mark.parametrize("name", ["6.1", "6.12"])
def test_instructions_and_accesses_of_a_known_loop_are_counted(name: str) -> None:
    fetched = kernels.fetch(name)
    guest = SerialGuest(
        fetched.vmlinuz,
        machine(1, 1, "512M", icount=True),
        cmdline_extra="nokaslr noreplace-smp clocksource=hpet",
        qemu_extra=where.arguments(where.plugin("amd64")),
        kept=(where.PLUGIN_OUTPUT,),
    )
    script = (
        "echo 0 >/proc/sys/kernel/kptr_restrict\n"
        f"grep ' [tTwW] ' /proc/kallsyms | grep -v '\\[' >{OUTPUT}/kallsyms\n"
        f"insmod /root/known.ko turns={TURNS}\n"
    )
    module = lab.kernel_module(fetched, "tests/kmod/known")
    came = guest.run(script, {"/root/known.ko": module})
    assert came.status == 0
    symbols = where.Symbols(came.files["kallsyms"].decode())
    (interval,) = where.read(came.files[where.PLUGIN_OUTPUT].decode(), symbols.function)
    counts = interval.functions[where.MODULE]
    # Beside the turns there are the markers, and what leads into the loop and out of it.
    assert counts.instructions == pytest.approx(INSTRUCTIONS * TURNS, abs=20)
    assert counts.atomics == ATOMICS * TURNS
    assert counts.stores == pytest.approx(STORES * TURNS, abs=20)
    assert counts.loads == pytest.approx(LOADS * TURNS, abs=20)

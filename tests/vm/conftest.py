# SPDX-License-Identifier: GPL-2.0-only
"""What the tests on real kernels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lab
from page_alloc_bench.targets.guest import Guest

# The tracepoints are on from the start, when there is one CPU: to switch it on later patches code
# that four CPUs execute, which emulated ones sometimes do not survive (an int3 left in __schedule).
TRACED = "trace_event=kmem:mm_page_alloc,kmem:mm_page_free"


@pytest.fixture(scope="module")
def machine(guest: Guest) -> Iterator[Guest]:
    lab.install(guest)
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    yield guest
    guest.run("rmmod page_alloc_bench")
    assert "WARNING" not in guest.dmesg()


@pytest.fixture(scope="session")
def traced() -> Iterator[Guest]:
    """A guest whose module has one more file in patterns/ than it is shipped with."""
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="1G", cmdline_extra=TRACED) as guest:
        lab.let_khugepaged_sleep(guest)
        lab.install(guest)
        module = lab.kernel_module(guest.kernel, "kmod", patterns="tests/kmod/patterns")
        guest.run(f"mkdir -p {lab.IN_GUEST}/patterns")
        guest.copy_to(module, f"{lab.IN_GUEST}/patterns/")
        guest.run(f"insmod {lab.IN_GUEST}/patterns/{module.name}")
        yield guest
        guest.run("rmmod page_alloc_bench")
        assert "WARNING" not in guest.dmesg()

# SPDX-License-Identifier: GPL-2.0-only
"""Guests in which the module is loaded, for the tests of several directories."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lab
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest

# The tracepoints are on from the start, when there is one CPU: to switch it on later patches code
# that four CPUs execute, which emulated ones sometimes do not survive (an int3 left in __schedule).
TRACED = "trace_event=kmem:mm_page_alloc,kmem:mm_page_free"


PATTERNS = "tests/kmod/patterns"


@pytest.fixture(scope="session")
def modules_soon() -> None:
    """Build the modules while the guest boots that gets them."""
    lab.kernel_modules_soon(kernels.fetch())


@pytest.fixture(scope="module")
def machine(modules_soon: None, guest: Guest) -> Iterator[Guest]:
    lab.install(guest)
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    yield guest
    guest.run("rmmod page_alloc_bench")
    assert "WARNING" not in guest.dmesg()


@pytest.fixture(scope="session")
def traced(modules_soon: None) -> Iterator[Guest]:
    """A guest whose module has one more file in patterns/ than it is shipped with."""
    lab.kernel_module_soon(kernels.fetch(), "kmod", PATTERNS)
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="1G", cmdline_extra=TRACED) as guest:
        lab.let_khugepaged_sleep(guest)
        lab.install(guest)
        module = lab.kernel_module(guest.kernel, "kmod", PATTERNS)
        guest.run(f"mkdir -p {lab.IN_GUEST}/patterns")
        guest.copy_to(module, f"{lab.IN_GUEST}/patterns/")
        guest.run(f"insmod {lab.IN_GUEST}/patterns/{module.name}")
        yield guest
        guest.run("rmmod page_alloc_bench")
        assert "WARNING" not in guest.dmesg()

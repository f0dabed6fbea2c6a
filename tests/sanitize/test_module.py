# SPDX-License-Identifier: GPL-2.0-only
"""The module's own tests (tests/vm/test_module*.py) on a kernel that tells of every mistake."""

from __future__ import annotations

import pytest

import lab
from module_session import CPUS
from page_alloc_bench.targets.guest import Guest
from sanitize import sanitizers
from vm.test_module import *  # noqa: F403
from vm.test_module_refusals import *  # noqa: F403

pytestmark = pytest.mark.seconds(20)


@pytest.fixture(scope="module")
def machine(guest: Guest) -> Guest:
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    sanitizers.forget_old_leaks(guest)
    return guest


@pytest.fixture
def give_back_s() -> float:
    """This kernel poisons and unmaps each page that it gets back, and notes by whom."""
    return 20.0


@pytest.fixture
def unmapped_later() -> int:
    """KASAN's shadow, an eighth of areas that vmalloc unmaps together once they are enough.

    That is 32 MiB for each bit of the number of CPUs (mm/vmalloc.c, lazy_max_pages()).
    """
    return CPUS.bit_length() * (32 << 20) // 8


@pytest.mark.attempt(
    "all tests of the module", "no report, nothing left", "module loaded", kernel="6.12-debug"
)
def test_nothing_was_reported_or_left(machine: Guest) -> None:
    """Last in this file: after all the others."""
    assert sanitizers.leaks(machine) == ""
    assert sanitizers.pages_of(machine, "page_alloc_bench") == []
    machine.run("rmmod page_alloc_bench")
    sanitizers.assert_all_is_quiet(machine)

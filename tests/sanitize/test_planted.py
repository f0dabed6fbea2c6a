# SPDX-License-Identifier: GPL-2.0-only
"""The kernel tells of mistakes: that it says nothing elsewhere means something."""

from __future__ import annotations

import pytest

import lab
from page_alloc_bench.targets.guest import Guest
from sanitize import sanitizers

# The order matters: lockdep is off after its own report, and after KASAN's.
REPORTED = {
    "lock_order": "WARNING: possible circular locking dependency detected",
    "atomic_sleep": "BUG: sleeping function called from invalid context",
    "list": "list_del corruption",
    "shift": "UBSAN: shift-out-of-bounds",
    "use_after_free": "BUG: KASAN: slab-use-after-free in planted_use_after_free",
    "page_use_after_free": "BUG: KASAN: use-after-free in planted_page_use_after_free",
    "out_of_bounds": "BUG: KASAN: vmalloc-out-of-bounds in planted_out_of_bounds",
}


@pytest.fixture(scope="module")
def planted(guest: Guest) -> Guest:
    guest.copy_to(lab.kernel_module(guest.kernel, "tests/kmod/planted"), f"{lab.IN_GUEST}/")
    sanitizers.forget_old_leaks(guest)
    return guest


def make(guest: Guest, fault: str) -> None:
    guest.run(f"insmod {lab.IN_GUEST}/pab_planted.ko fault={fault}")


@pytest.mark.seconds(110)
@pytest.mark.attempt(
    "mistake on purpose: a leaked object",
    "reported by kmemleak",
    "by a test module",
    kernel="6.12-debug",
)
def test_a_leaked_object_is_found(planted: Guest) -> None:
    assert "[pab_planted]" not in sanitizers.leaks(planted)
    make(planted, "leak")
    try:
        assert "planted_leak" in sanitizers.leaks(planted)
    finally:
        planted.run("rmmod pab_planted")


@pytest.mark.seconds(5)
@pytest.mark.attempt(
    "mistake on purpose: a leaked page",
    "found by page_owner",
    "by a test module",
    kernel="6.12-debug",
)
def test_a_leaked_page_is_found(planted: Guest) -> None:
    assert sanitizers.pages_of(planted, "pab_planted") == []
    make(planted, "page_leak")
    try:
        found = sanitizers.pages_of(planted, "pab_planted")
    finally:
        planted.run("rmmod pab_planted")
    assert any("planted_page_leak" in stack and "nr_base_pages: 2" in stack for stack in found)
    # Also when nothing tells any more whose it was.
    assert len(sanitizers.pages_of(planted, "pab_planted")) >= len(found)


@pytest.mark.seconds(5)
@pytest.mark.parametrize("fault", REPORTED)
@pytest.mark.attempt(
    "mistake on purpose: {fault}", "reported", "by a test module", kernel="6.12-debug"
)
def test_a_mistake_is_reported(planted: Guest, fault: str) -> None:
    planted.run("dmesg --clear")
    make(planted, fault)
    planted.run("rmmod pab_planted")
    log = planted.dmesg()
    assert REPORTED[fault] in log
    assert REPORTED[fault] in "\n".join(sanitizers.reports(log))

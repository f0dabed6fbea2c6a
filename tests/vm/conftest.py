# SPDX-License-Identifier: GPL-2.0-only
"""What the tests on real kernels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lab
from page_alloc_bench.targets.guest import Guest


@pytest.fixture(scope="module")
def machine(guest: Guest) -> Iterator[Guest]:
    lab.install(guest)
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    yield guest
    guest.run("rmmod page_alloc_bench")
    assert "WARNING" not in guest.dmesg()

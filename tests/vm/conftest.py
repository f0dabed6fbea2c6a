# SPDX-License-Identifier: GPL-2.0-only
"""One booted guest for all VM tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from page_alloc_bench.targets.guest import Guest


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A guest like a small two-node server on the default kernel."""
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="2G") as booted:
        yield booted

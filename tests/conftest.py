# SPDX-License-Identifier: GPL-2.0-only
"""One booted guest for all VM tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A guest like a small two-node server on the default kernel."""
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="2G") as booted:
        yield booted


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for the default kernel, as a user builds it."""
    path = tmp_path_factory.mktemp("bundle") / "bench.run"
    request = BuildRequest(kdir=kernels.fetch().kdir, output=path)
    build(request, progress=lambda _message: None)
    return path

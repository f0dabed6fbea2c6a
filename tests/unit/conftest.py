# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of several files here share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import recorded
from comparing import DOCUMENTS, Change, copy
from page_alloc_bench.analysis import compare as engine
from page_alloc_bench.analysis import results
from page_alloc_bench.analysis.compare import Comparison


@pytest.fixture
def side(tmp_path: Path) -> Callable[..., Path]:
    """Write some of the recorded runs, each changed, into a directory of its own.

    Sides that are written one after the other were measured by turns, a boot a run.
    """

    def write(first: int, last: int, change: Change | None = None) -> Path:
        number = len(list(tmp_path.iterdir()))

        def made(place: int) -> recorded.Document:
            document = copy(DOCUMENTS[first + place])
            minute = 2 * place + number % 2
            document["run"]["started_at"] = f"2026-01-01T00:{minute:02}:00Z"
            document["run"]["boot_id"] = f"{number}-{place}"
            return copy(document, change)

        return recorded.write(tmp_path / f"side{number}", map(made, range(last - first)))

    return write


@pytest.fixture(scope="module")
def real() -> Comparison:
    base, new = (results.load_all([path]) for path in (recorded.BASE, recorded.NEW))
    return engine.compare(base, new)

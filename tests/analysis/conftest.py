# SPDX-License-Identifier: GPL-2.0-only
"""What tests of several files here share."""

from __future__ import annotations

import pytest

from page_alloc_bench.analysis import report, results
from page_alloc_bench.analysis.results import Result
from reporting import BASE, NEW


@pytest.fixture(scope="module")
def base() -> list[Result]:
    return results.load_all([BASE])


@pytest.fixture(scope="module")
def new() -> list[Result]:
    return results.load_all([NEW])


@pytest.fixture(scope="module")
def two_sided(base: list[Result], new: list[Result]) -> str:
    return report.html(base, new)


@pytest.fixture(scope="module")
def single(base: list[Result]) -> str:
    return report.html(base[:1])

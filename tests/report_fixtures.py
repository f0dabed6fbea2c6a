# SPDX-License-Identifier: GPL-2.0-only
"""Pages, and what they are made of, for the tests of several directories."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

import browsing
from once import once
from page_alloc_bench.analysis import report, results
from page_alloc_bench.analysis.results import Result
from recorded import BASE, NEW


@pytest.fixture(scope="session")
def base() -> list[Result]:
    return results.load_all([BASE])


@pytest.fixture(scope="session")
def new() -> list[Result]:
    return results.load_all([NEW])


@pytest.fixture(scope="session")
def two_sided(
    base: list[Result], new: list[Result], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The page that compares both sides: seconds of drawing, so all processes share it."""
    path = once(
        tmp_path_factory, "two-sided.html", lambda path: path.write_text(report.html(base, new))
    )
    return path.read_text()


@pytest.fixture(scope="session")
def single(base: list[Result], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = once(
        tmp_path_factory, "single.html", lambda path: path.write_text(report.html(base[:1]))
    )
    return path.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.started() as browser:
        yield browser

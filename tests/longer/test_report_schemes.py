# SPDX-License-Identifier: GPL-2.0-only
"""A report is readable on each screen in the scheme that tests/analysis leaves out there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import browsing
from page_alloc_bench.analysis import report, results
from recorded import BASE, NEW


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pages")
    base, new = results.load_all([BASE]), results.load_all([NEW])
    (place / "single.html").write_text(report.html(base[:1]))
    (place / "two-sided.html").write_text(report.html(base, new))
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.started() as started:
        yield started


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1600, "light")])
@pytest.mark.parametrize("name", ["single", "two-sided"])
def test_it_is_quiet_readable_and_accessible(
    browser: Browser, pages: Path, name: str, width: int, scheme: str
) -> None:
    browsing.is_quiet_readable_and_accessible(browser, pages / f"{name}.html", width, scheme)

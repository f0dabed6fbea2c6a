# SPDX-License-Identifier: GPL-2.0-only
"""The page of a trend works in a real browser, offline and without a script."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser

from browsing import DRAWN, FAULTY_TEXTS, LETTERS, opened
from made_up_series import KERNELS, less_memory, written
from page_alloc_bench.cli import main

SINCE = 8  # the kernel that takes memory


@pytest.fixture(scope="module")
def page_of_trend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trend")
    results = written(place / "results", less_memory(SINCE))
    done = CliRunner().invoke(main, ["trend", str(results), "-o", str(place / "trend.html")])
    assert done.exit_code == 1, done.output
    return place / "trend.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_it_is_quiet_readable_and_accessible(
    browser: Browser, page_of_trend: Path, width: int, scheme: str
) -> None:
    screen = {"width": width, "height": 900}
    reader = opened(browser, page_of_trend, viewport=screen, color_scheme=scheme)
    page = reader.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert not page.evaluate(FAULTY_TEXTS)
    assert min(page.evaluate(LETTERS)) >= 11
    assert reader.console == []
    assert [url[:5] for url in reader.requests] == ["file:"]
    page.context.close()


def test_the_kernel_that_changed_a_figure_is_read_without_a_script(
    browser: Browser, page_of_trend: Path
) -> None:
    page = opened(browser, page_of_trend, java_script_enabled=False).page
    assert page.locator("script").count() == 0
    table = page.get_by_role("table").filter(has_text="Confirmed changes")
    assert KERNELS[SINCE] in table.inner_text()
    assert KERNELS[SINCE - 1] not in table.inner_text()


def test_every_series_is_drawn(browser: Browser, page_of_trend: Path) -> None:
    page = opened(browser, page_of_trend, viewport={"width": 1600, "height": 900}).page
    drawn = page.evaluate(DRAWN)
    assert len(drawn) > 10
    for width, height, shapes in drawn:
        assert width > 300
        assert height > 100
        assert shapes >= len(KERNELS)

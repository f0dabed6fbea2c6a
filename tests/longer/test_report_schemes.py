# SPDX-License-Identifier: GPL-2.0-only
"""A report is readable on each screen in the scheme that tests/analysis leaves out there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from analysis.conftest import base, browser, new, single, two_sided  # noqa: F401 (fixtures)
from browsing import is_quiet_readable_and_accessible


@pytest.mark.parametrize("screen", [(400, "dark"), (1600, "light")], ids=str)
@pytest.mark.parametrize("name", ["single", "two_sided"])
def test_it_is_quiet_readable_and_accessible(
    browser: Browser,  # noqa: F811
    request: pytest.FixtureRequest,
    tmp_path: Path,
    name: str,
    screen: tuple[int, str],
) -> None:
    page = tmp_path / "report.html"
    page.write_text(request.getfixturevalue(name))
    is_quiet_readable_and_accessible(browser, page, *screen)

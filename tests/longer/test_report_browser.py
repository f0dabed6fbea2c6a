# SPDX-License-Identifier: GPL-2.0-only
"""A report works in a real browser: Debian's chromium, as a reader would open the file."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

import recorded
from browsing import (
    DRAWN,
    FAULTY_TEXTS,
    LETTERS,
    is_quiet_readable_and_accessible,
    opened,
)
from page_alloc_bench.analysis import report, results
from reporting import whole

DATA = Path(__file__).resolve().parents[1] / "data/results"
CHARTS = {"single": 20, "two-sided": 23, "by turns": 29}

# Where the cells of verdicts end that are to be seen at once.
VERDICTS = """() => {
    const table = [...document.querySelectorAll("table")].find(
        (table) => table.caption.textContent === "What changed");
    const column = [...table.tHead.rows[0].cells].findIndex(
        (cell) => cell.textContent === "verdict");
    return [...table.rows].filter((row) => row.cells.length > 1)
        .map((row) => row.cells[column].getBoundingClientRect().right);
}"""
# What of "What changed" is not to be seen at once, in pixels.
CUT = """() => {
    const table = document.querySelector("[aria-label='What changed']");
    return table.scrollWidth - table.clientWidth;
}"""
PAINTED = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.now()))))"""


@pytest.fixture(scope="module")
def reports(
    single: str, two_sided: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("reports")
    sides = (results.load_all([DATA / side]) for side in ("init_on_alloc-1", "init_on_alloc-0"))
    turns = [by_turns(place / name, side) for name, side in zip("ab", sides)]
    made = {"single": single, "two-sided": two_sided, "by turns": report.html(*turns)}
    for name, text in made.items():
        (place / f"{name}.html").write_text(text)
    return {name: place / f"{name}.html" for name in made}


def by_turns(place: Path, side: list[results.Result]) -> list[results.Result]:
    """Return twelve of the runs, with all pictures, as if the sides had been booted by turns."""
    documents = [result.document for result in side[:12]]
    for number, document in enumerate(documents):
        whole(number, document)
        minute = 2 * number + (place.name == "b")
        document["run"].update(
            boot_id=f"{place.name}{number}", started_at=f"2026-01-01T00:{minute:02}:00Z"
        )
    return results.load_all([recorded.write(place, documents)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("name", ["single", "two-sided"])
def test_it_is_quiet_readable_and_accessible(
    browser: Browser, reports: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    is_quiet_readable_and_accessible(browser, reports[name], width, scheme)


def test_what_matters_is_read_on_a_telephone(browser: Browser, reports: dict[str, Path]) -> None:
    page = opened(browser, reports["by turns"], viewport={"width": 400, "height": 900}).page
    assert page.locator(".verdict").bounding_box()["y"] < 400
    letters = page.evaluate(LETTERS)
    assert len(letters) > 300
    assert min(letters) >= 11
    assert max(page.evaluate(VERDICTS)) <= 400
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert not page.evaluate(FAULTY_TEXTS)


def test_a_wide_screen_is_used(browser: Browser, reports: dict[str, Path]) -> None:
    """No section of pictures leaves the right half of the screen empty."""
    page = opened(browser, reports["by turns"], viewport={"width": 1600, "height": 900}).page
    for section in page.locator("section.drawn, section.compared").all():
        boxes = [svg.bounding_box() for svg in section.locator("svg").all()]
        assert max(box["x"] + box["width"] for box in boxes) > 1200
        assert all(box["width"] >= 380 for box in boxes)


@pytest.mark.parametrize("width", [800, 1100, 1600])
def test_all_columns_of_a_comparison_are_seen(
    browser: Browser, reports: dict[str, Path], width: int
) -> None:
    for name in ("two-sided", "by turns"):
        page = opened(browser, reports[name], viewport={"width": width, "height": 900}).page
        assert page.evaluate(CUT) <= 0


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_drawn(browser: Browser, reports: dict[str, Path], name: str) -> None:
    reader = opened(browser, reports[name], viewport={"width": 1600, "height": 900})
    drawn = reader.page.evaluate(DRAWN)
    assert len(drawn) == CHARTS[name]
    for width, height, shapes in drawn:
        assert width > 300
        assert height > 150
        assert shapes >= 8
    # Nothing is left black that should have a colour of the page.
    ink = reader.page.evaluate("getComputedStyle(document.querySelector('main svg text')).fill")
    assert ink == "rgb(27, 31, 36)"


def test_it_is_drawn_in_time(browser: Browser, reports: dict[str, Path]) -> None:
    """Twenty results and more, in CPU time: other tests may be running beside this one."""
    page = browser.new_page()
    inspector = page.context.new_cdp_session(page)
    inspector.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(reports["two-sided"].as_uri())
    page.evaluate(PAINTED)
    measured = inspector.send("Performance.getMetrics")["metrics"]
    [seconds] = [metric["value"] for metric in measured if metric["name"] == "TaskDuration"]
    assert 0.01 < seconds <= 3


def test_dark_is_dark(browser: Browser, reports: dict[str, Path]) -> None:
    means = {}
    for scheme in ("light", "dark"):
        page = opened(browser, reports["single"], color_scheme=scheme).page
        shot = page.locator("main svg").first.screenshot()
        with Image.open(io.BytesIO(shot)) as image:
            grey = image.convert("L").histogram()
        means[scheme] = sum(value * count for value, count in enumerate(grey)) / sum(grey)
    assert means["dark"] < 60
    assert means["light"] > 195


def test_it_needs_no_script(browser: Browser, reports: dict[str, Path]) -> None:
    with_script = opened(browser, reports["two-sided"]).page
    without = opened(browser, reports["two-sided"], java_script_enabled=False).page
    assert without.locator("main svg").count() == CHARTS["two-sided"]
    without.locator("summary").first.click()
    assert without.locator("details table").first.is_visible()
    with_script.locator("summary").first.click()
    assert without.inner_text("main") == with_script.inner_text("main")


def test_the_keyboard_reaches_everything(browser: Browser, reports: dict[str, Path]) -> None:
    page = opened(browser, reports["single"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")


def test_a_result_can_be_saved_from_it(browser: Browser, reports: dict[str, Path]) -> None:
    page = opened(browser, reports["single"]).page
    with page.expect_download() as download:
        page.get_by_role("link", name="base-01.json.gz").click()
    saved = download.value.path()
    assert saved.read_bytes() == next(iter(sorted(DATA.glob("init_on_alloc-1/*")))).read_bytes()


def test_it_prints(browser: Browser, reports: dict[str, Path], tmp_path: Path) -> None:
    page = opened(browser, reports["by turns"], color_scheme="dark").page
    printed = tmp_path / "report.pdf"
    page.pdf(path=printed, format="A4", print_background=True)
    text = subprocess.run(
        ["pdftotext", "-layout", printed, "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "Cannot tell: a regression of 2 %" in " ".join(text.split())
    assert "time of one allocation (log)" in text  # pictures' text is text
    assert "unevictable_pgs_culled" not in text  # the long tables of counters
    assert "machine.clocksource" in text
    assert "Skip to the content" not in text
    for sheet in text.split("\f"):  # no heading is parted from what it is of
        if "Order 4 (64 KiB per block)" in sheet:
            assert "Order 4: 24 runs of 24 boots in the order of time" in sheet
            assert "run, in the order of time" in sheet
    pages = text.count("\f")
    assert 5 <= pages <= 8
    subprocess.run(
        ["pdftoppm", "-r", "20", "-png", "-f", "1", "-l", "1", printed, tmp_path / "sheet"],
        check=True,
    )
    with Image.open(next(tmp_path.glob("sheet*.png"))) as image:
        assert image.convert("L").getpixel((5, 5)) > 250  # paper is white, whatever the screen

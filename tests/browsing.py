# SPDX-License-Identifier: GPL-2.0-only
"""A page in a real browser, Debian's chromium, and what is looked for in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"

# A text of a picture that the picture's own edge cuts off, or two that lie on each other.
FAULTY_TEXTS = """() => {
    const faults = [];
    for (const svg of document.querySelectorAll("main svg")) {
        const frame = svg.getBoundingClientRect();
        const texts = [...svg.querySelectorAll("text")].map(
            (text) => [text.textContent, text.getBoundingClientRect()]);
        texts.forEach(([words, box], i) => {
            if (box.left < frame.left - 1 || box.right > frame.right + 1 ||
                box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
                faults.push(`cut off: ${words}`);
            for (const [others, other] of texts.slice(i + 1))
                if (box.left < other.right - 1 && other.left < box.right - 1 &&
                    box.top < other.bottom - 3 && other.top < box.bottom - 3)
                    faults.push(`overlap: ${words} and ${others}`);
        });
    }
    return faults;
}"""
# Pictures by what is drawn in them, other than their frame.
DRAWN = """() => [...document.querySelectorAll("main svg")].map((svg) => {
    const box = svg.getBoundingClientRect();
    const shapes = [...svg.querySelectorAll("path, use")].filter((shape) => {
        const own = shape.getBoundingClientRect();
        return own.width + own.height > 0;
    });
    return [box.width, box.height, shapes.length];
})"""
# The height of letters of pictures as they are seen, in pixels.
LETTERS = """() => [...document.querySelectorAll("main svg text")]
    .map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)
    .filter((size) => size > 0)"""

_UNFOLD = """() => document.querySelectorAll("details").forEach((fold) => { fold.open = true })"""


@dataclass
class Opened:
    """A page that was opened, and what it did."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def started() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def opened(browser: Browser, path: Path, **options: Any) -> Opened:
    """Return a report that a new reader has opened."""
    made = Opened(browser.new_context(**options).new_page())
    made.page.on("console", lambda message: made.console.append(message.text))
    made.page.on("pageerror", lambda error: made.console.append(str(error)))
    made.page.on("request", lambda request: made.requests.append(request.url))
    made.page.goto(path.as_uri())
    return made


def is_quiet_readable_and_accessible(browser: Browser, path: Path, width: int, scheme: str) -> None:
    """Assert it of a page, all of whose folds are opened, on a screen of WIDTH pixels."""
    reader = opened(browser, path, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = reader.page
    page.evaluate(_UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert not page.evaluate(FAULTY_TEXTS)
    assert reader.console == []
    assert [url[:5] for url in reader.requests] == ["file:"]
    page.context.close()

# SPDX-License-Identifier: GPL-2.0-only
"""A report is one file that is safe to open, complete, and the same each time."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from page_alloc_bench.analysis import report
from page_alloc_bench.analysis.report import palette
from page_alloc_bench.analysis.results import Result
from reporting import Page, brief, changed, embedded, of_order_0


def hostile(document: dict[str, Any]) -> None:
    run = document["run"]
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> $x$ \\frac & {{ 7*7 }}"
    run["kernel"]["cmdline"] = evil
    run["kernel"]["release"] = "6.1<b onclick=x>$"
    run["warnings"] = [evil]
    run["machine"]["cpu_model"] = "</style></svg>" + evil
    run["kernel"]["config"]["options"]["<script>X"] = "<script>y"
    run["phases"][1]["vmstat_delta"]["<script>z"] = 5


def test_what_a_result_says_stays_text(base: list[Result], tmp_path: Path) -> None:
    name = "<script>alert('file')<.json"
    evil = changed(base[0], tmp_path / name.replace("/", ""), hostile)
    other = changed(base[1], tmp_path / "other.json", of_order_0)
    for html in (report.html([evil]), report.html([other], [evil], allow=["*"])):
        page = Page(html)
        assert not {"script", "img", "b", "iframe", "object"} & {tag for tag, _ in page.tags}
        assert not [a for _, found in page.tags for a in found if a.startswith("on")]
        assert "<script>alert(1)</script>" in page.text
        assert "{{ 7*7 }}" in page.text


def test_everything_is_inside(two_sided: str) -> None:
    page = Page(two_sided)
    for name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
        for value in page.attributes(name):
            assert value.startswith(("#", "data:")), value
    assert not re.search(r"url\((?!#)|@import", two_sided)


def test_ids_are_unique_and_references_lead_somewhere(two_sided: str) -> None:
    page = Page(two_sided)
    ids = list(page.attributes("id"))
    assert len(ids) == len(set(ids))
    wanted = {v[1:] for n in ("href", "xlink:href") for v in page.attributes(n) if v[:1] == "#"}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", two_sided))
    wanted |= {word for v in page.attributes("aria-labelledby") for word in v.split()}
    assert len(wanted) > 50
    assert wanted <= set(ids)


def test_every_picture_is_named_for_those_who_do_not_see_it(two_sided: str) -> None:
    drawn = [found for tag, found in Page(two_sided).tags if tag == "svg"]
    assert len(drawn) >= 20
    assert all(found["role"] == "img" and found["aria-labelledby"] for found in drawn)
    titles = re.findall(r"<svg [^>]*><title[^>]*>([^<]+)</title><desc[^>]*>[^<]+</desc>", two_sided)
    assert len(titles) == len(set(titles)) == len(drawn)


def test_colours_are_the_pages_to_choose(two_sided: str) -> None:
    assert "#0101" not in two_sided
    used = set(re.findall(r"var\(--(\w+)\)", two_sided))
    for theme in two_sided.split("prefers-color-scheme: dark")[:2]:
        assert used - {"soft", "link", "alarm"} <= set(re.findall(r"--(\w+): #", theme))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_colours_stand_out(theme: palette.Palette) -> None:
    assert contrast(theme.ink, theme.paper) >= 7
    for name in ("base", "new"):
        assert contrast(getattr(theme, name), theme.paper) >= 4.5, name


def test_the_same_results_give_the_same_bytes(single: str, base: list[Result]) -> None:
    assert report.html(base[:1]) == single


def test_the_raw_results_are_in_it(two_sided: str, base: list[Result], new: list[Result]) -> None:
    found = embedded(two_sided)
    assert list(found.values()) == [result.path.read_bytes() for result in (*base, *new)]


def test_a_plain_file_is_embedded_byte_for_byte(base: list[Result], tmp_path: Path) -> None:
    plain = changed(base[0], tmp_path / "plain.json", brief)
    [data] = embedded(report.html([plain])).values()
    assert gzip.decompress(data) == plain.path.read_bytes()

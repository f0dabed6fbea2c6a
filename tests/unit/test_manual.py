# SPDX-License-Identifier: GPL-2.0-only
"""The documents: what they link to is there, also where only the wheel is installed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

TOP = Path(__file__).resolve().parents[2]
MANUAL = TOP / "bundle/page_alloc_bench/manual"
TOPICS = sorted(MANUAL.glob("*.md"))
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("tests/**/README.md"), *TOPICS])
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """Return the text of a document without its examples."""
    return _FENCED.sub("", document.read_text())


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the heading that each link within the project names."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if not re.match(r"[a-z]+:", target):
            name, _, heading = target.partition("#")
            yield ((document.parent / name).resolve() if name else document), heading


def headings(document: Path) -> set[str]:
    """Return the names that links give to the headings of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for file, heading in links(document):
        assert file.exists(), file
        if heading:
            assert heading in headings(file), heading


def test_the_links_of_the_manual_hold_in_the_wheel(tmp_path: Path) -> None:
    wheel = next(WheelBuilder(str(TOP)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    for topic in TOPICS:
        assert f"page_alloc_bench/manual/{topic.name}" in there
        for file, _heading in links(topic):
            assert str(file.relative_to(TOP / "bundle")) in there


def test_the_readme_is_short_and_leads_to_every_topic_and_table() -> None:
    readme = TOP / "README.md"
    assert len(readme.read_text().splitlines()) <= 200
    linked = {file for file, _heading in links(readme)}
    assert set(DOCUMENTS) - {readme, TOP / "tests/data/results/README.md"} <= linked


@pytest.mark.parametrize("topic", TOPICS, ids=lambda path: path.stem)
def test_a_topic_begins_with_its_title(topic: Path) -> None:
    first, second, *_ = topic.read_text().splitlines()
    assert re.fullmatch(r"# [A-Z].{10,70}[^.]", first)
    assert second == ""

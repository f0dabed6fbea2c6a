# SPDX-License-Identifier: GPL-2.0-only
"""What a user reads is plain English, and amounts in it are written in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "bundle/page_alloc_bench"
CODE = sorted(PACKAGE.rglob("*.py"))
# The pages in man1/ are made of strings in the code.
PAGES = sorted(PACKAGE.rglob("*.md"))
# "is no block" for "is not a block". Right: "there is no block", "is no longer".
IS_NO = re.compile(
    r"(?<!\bthere )\b(?:is|are) (?:none of|no (?!(?:more|less|longer|worse|better|finer)\b)\w+)",
    re.IGNORECASE,
)


def strings(path: Path) -> Iterator[str]:
    """The strings of a module, docstrings too, with X for each value in an f-string."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
            )


def texts() -> Iterator[tuple[str, str]]:
    """All that is said, in one line each, and the file where it is."""
    for path in CODE:
        yield from ((path.name, " ".join(text.split())) for text in strings(path))
    yield from ((path.name, " ".join(path.read_text().split())) for path in PAGES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("'x' is none of a, b", "is none of"),
        ("a line that is no attempt: take it out", "is no attempt"),
        ("what is no JSON", "is no JSON"),
        ("There is no run on this host", None),
        ("where there are no pages", None),
        ("which is no longer so", None),
        ("to be no worse", None),
        ("'x' is not one of a, b", None),
    ],
)
def test_the_form_is_found(text: str, found: str | None) -> None:
    match = IS_NO.search(text)
    assert (match and match[0]) == found


def test_nothing_is_said_to_be_no_x() -> None:
    assert CODE
    assert PAGES
    wrong = [f"{name}: {text[match.start() - 30 : match.end() + 30]}"
             for name, text in texts() for match in IS_NO.finditer(text)]  # fmt: skip
    assert wrong == []

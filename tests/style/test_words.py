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


def with_x(node: ast.JoinedStr) -> str:
    """An f-string with X for each value in it."""
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
    )


def strings(path: Path) -> Iterator[str]:
    """The strings of a module, docstrings too, with X for each value in an f-string."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield with_x(node)


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


def by_hand(text: str) -> list[str]:
    """The values in f-strings that are scaled there, or are not told in powers of 1024."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            scaled = any(
                isinstance(part, ast.FormattedValue) and is_scaled(part.value)
                for part in node.values
            )
            if scaled or re.search(r"\bX [kMGT]B\b", with_x(node)):
                found.append(ast.unparse(node))
    return found


def is_scaled(value: ast.expr) -> bool:
    """Whether a value is divided by a power of 1024: size >> 20, size // 1024, size / 2**20."""
    return any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, (ast.RShift, ast.Div, ast.FloorDiv))
        and re.fullmatch(
            r">> \d0|// ?1024|/ 1024|//? (2(\.0)? \*\* \d0|\(1 << \d0\))",
            ast.unparse(node).removeprefix(ast.unparse(node.left)).strip(),
        )
        for node in ast.walk(value)
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('f"{size >> 20} MiB"', True),
        ('f"{(a << order) >> 10:,} KiB"', True),
        ('f"{-(-a // 1024)} MiB"', True),
        ('f"{a / 2**30} GiB"', True),
        ('f"{a / 1e6:.1f} MB"', True),
        ('f"{units.whole_mib(a << 20)}"', False),
        ('f"{a / 1e6} ms"', False),
    ],
)
def test_amounts_that_are_scaled_by_hand_are_found(text: str, found: bool) -> None:
    assert bool(by_hand(text)) == found


# What is written in units.py, and a name that the kernel gives a directory.
ITSELF = {"runner/result/units.py", "runner/kernel/huge_pages.py"}


def test_amounts_of_memory_are_scaled_in_one_place() -> None:
    found = {str(path.relative_to(PACKAGE)): by_hand(path.read_text()) for path in CODE}
    assert {name for name, amounts in found.items() if amounts} == ITSELF

# SPDX-License-Identifier: GPL-2.0-only
"""A strict reader of KTAP version 1, written from Documentation/dev-tools/ktap.rst.

Stricter than the parsers of kernel CI, which take much of what is wrong for unknown lines: here
every line has to be one of the specification's kinds, plans are kept, numbers count up from 1, and
a parent agrees with its subtests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_RESULT = re.compile(
    r"(?P<result>ok|not ok) (?P<number>[1-9][0-9]*) (?P<name>[^#\s]+)"
    r"(?: # (?P<directive>SKIP|TODO|XFAIL|TIMEOUT|ERROR)?(?P<text>.*))?"
)


class KtapError(Exception):
    """The text is not as the specification has it."""


@dataclass
class Test:
    """One result. result: pass, fail or skip. diagnostics: the lines right before it."""

    name: str
    result: str
    directive: str
    text: str
    diagnostics: list[str]
    subtests: list[Test] = field(default_factory=list)

    def sub(self, name: str) -> Test:
        """Return the subtest of this name."""
        return next(test for test in self.subtests if test.name == name)


@dataclass
class Report:
    """All of the text. bailed_out: the reason, if it bailed out."""

    tests: list[Test]
    planned: int
    bailed_out: str | None = None

    def test(self, name: str) -> Test:
        """Return the top-level test of this name."""
        return next(test for test in self.tests if test.name == name)


def read(text: str, *, whole: bool = True) -> Report:
    """Return what text says. whole: refuse a text in which planned results are missing."""
    if not text.endswith("\n"):
        raise KtapError("the last line is not terminated")
    lines = text.splitlines()
    tests, planned, rest, bailed = _level(lines, 0)
    if rest:
        raise KtapError(f"after the end: {rest[0]!r}")
    if whole and bailed is None and len(tests) != planned:
        raise KtapError(f"{planned} planned, {len(tests)} reported")
    return Report(tests, planned, bailed)


def _level(lines: list[str], depth: int) -> tuple[list[Test], int, list[str], str | None]:
    """Read one level; return its tests, its plan, the lines after it, why it bailed out."""
    indent = "  " * depth
    if lines[:1] != [f"{indent}KTAP version 1"]:
        raise KtapError(f"no version line but {lines[:1]}")
    plan = re.fullmatch(rf"{indent}1\.\.([1-9][0-9]*)", lines[1])
    if plan is None:
        raise KtapError(f"no plan but {lines[1]!r}")
    planned, lines = int(plan[1]), lines[2:]
    tests: list[Test] = []
    subtests: list[Test] = []
    diagnostics: list[str] = []
    while lines:
        line = lines[0]
        if line.startswith(f"{indent}  "):
            if diagnostics or subtests:
                raise KtapError(f"a second set of subtests: {line!r}")
            subtests, planned_below, lines, bailed = _level(lines, depth + 1)
            if bailed is not None or (lines and len(subtests) != planned_below):
                raise KtapError(f"{planned_below} planned, {len(subtests)} reported")
            continue
        if not line.startswith(indent) or (depth and not line.startswith(indent)):
            break
        body = line.removeprefix(indent)
        if depth == 0 and body.startswith("Bail out! "):
            return tests, planned, lines[1:], body.removeprefix("Bail out! ")
        if body.startswith("# "):
            diagnostics.append(body.removeprefix("# "))
        else:
            tests.append(_result(body, len(tests) + 1, diagnostics, subtests))
            diagnostics, subtests = [], []
        lines = lines[1:]
    if diagnostics or (subtests and lines):
        raise KtapError("diagnostics or subtests with no result after them")
    return tests, planned, lines, None


def _result(body: str, number: int, diagnostics: list[str], subtests: list[Test]) -> Test:
    match = _RESULT.fullmatch(body)
    if match is None:
        raise KtapError(f"no line of KTAP: {body!r}")
    if int(match["number"]) != number:
        raise KtapError(f"number {number} was due: {body!r}")
    directive = match["directive"] or ""
    if directive in ("TIMEOUT", "ERROR") and match["result"] == "ok":
        raise KtapError(f"{directive} goes with not ok: {body!r}")
    result = "skip" if directive == "SKIP" else "pass" if match["result"] == "ok" else "fail"
    if subtests and (result == "fail") != any(test.result == "fail" for test in subtests):
        raise KtapError(f"{match['name']} disagrees with its subtests")
    text = (match["text"] or "").strip()
    return Test(match["name"], result, directive, text, diagnostics, subtests)

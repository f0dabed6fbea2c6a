# SPDX-License-Identifier: GPL-2.0-only
"""A comparison in at most 15 lines of 72 columns, for a cover letter: what changed, what not."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from . import format_words as words
from .comparison import Comparison, Row, describe
from .instructions import words as path_words

WIDTH = 72
LINES = 15
_CHANGED = ("worse", "worse, size unclear", "better", "better, size unclear")
_MOST = 6  # lines of changes
_MOST_COUNTED = 3  # where lines about functions follow
_REASON = 3  # lines of why there is no verdict
_PART = 2  # lines of each other list


def render(comparison: Comparison) -> str:
    """Return the text: the verdict, what changed, what is shown not to have, what is open."""
    rows = comparison.deciding
    changed = sorted(
        (row for row in rows if row.verdict in _CHANGED),
        key=lambda row: (row.verdict not in _CHANGED[:2], -row.least_change),
    )
    most = _MOST_COUNTED if comparison.counted else _MOST
    lines = [
        f"page-alloc-bench: {_verdict(comparison)}"[:WIDTH],
        *_cut(f"  {comparison.forbidden or ''}", _REASON),
        *_cut(f"{words.boots(comparison)}; {_meant(comparison)}", _PART),
        *(_change(row) for row in changed[:most]),
    ]
    if len(changed) > most:
        lines.append(f"  and {len(changed) - most} more")
    lines += _list("not worse", [row for row in rows if row.verdict in ("same", "no worse")])
    lines += _list("cannot tell", [r for r in rows if r.verdict in ("unknown", "too few boots")])
    lines += [line for each in path_words.shortly(comparison.paths) for line in _cut(each, _PART)]
    how = "counted instructions, no noise"
    if not comparison.counted:
        how = f"{100 * comparison.confidence:g} % intervals of {comparison.observation}s"
    limits = words.thresholds(comparison)
    lines.append(f"({how}; thresholds: {limits})" if limits else f"({how})")
    lines = [line for text in lines for line in textwrap.wrap(text, WIDTH) or [""]]
    return "\n".join([*lines[: LINES - 1], *lines[-1:]] if len(lines) > LINES else lines) + "\n"


def _verdict(comparison: Comparison) -> str:
    return comparison.sentence.partition(":")[0].rstrip(".") + "."


def _meant(comparison: Comparison) -> str:
    meant = [words.difference(d) for d in comparison.differences if d.kind == "meant"]
    return "; ".join(meant) or "the same kernel, booted the same way"


def _change(row: Row) -> str:
    inside = words.interval(row)
    return (
        f"  {words.verdict(row, short=True):<8}{describe(row)} {words.change(row)}"
        f"{f' ({inside})' if inside else ''}"
    )


def _list(head: str, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    each = [f"{describe(row)} ({words.interval(row) or '?'})" for row in rows]
    return _cut(f"  {head}: {'; '.join(each)}", _PART)


def _cut(text: str, lines: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, max_lines=lines, placeholder=" ...", subsequent_indent="    ")

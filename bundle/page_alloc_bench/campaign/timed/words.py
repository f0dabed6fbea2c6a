# SPDX-License-Identifier: GPL-2.0-only
"""The verdict of a timed campaign in words: a text of at most 72 columns, Markdown, and JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from page_alloc_bench.analysis import format_json, format_markdown, format_short, format_text
from page_alloc_bench.analysis.campaign_directory import AGAIN, OK, Kept
from page_alloc_bench.analysis.comparison import Comparison, describe

WIDTH = 72


def duration(seconds: float) -> str:
    """Return a time in words, such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def boots(kept: Kept, side: str) -> str:
    """Return how many boots of a side are whole, such as "new 8 of 10 (2 panic)"."""
    ends = Counter(a["end"] for a in kept.attempts if a["side"] == side)
    made = sum(number for end, number in ends.items() if end not in AGAIN)
    bad = [f"{number} {end}" for end, number in ends.items() if end != OK]
    return f"{side} {ends[OK]} of {made}" + (f" ({', '.join(bad)})" if bad else "")


def about(kept: Kept, outcome: str, why: str) -> list[str]:
    """Return what was done and how it ended, in lines that may be long."""
    plan = kept.plan
    return [
        f"page-alloc-bench ab: {outcome}",
        f"base: {plan['labels']['base']}",
        f"new: {plan['labels']['new']}",
        f"machine: {_machine(plan['machine'])}",
        f"boots: {', '.join(boots(kept, side) for side in ('base', 'new'))}, of at most "
        f"{plan['most']} a side, in random blocks of four",
        f"ended: {why}",
        *(
            f"{each['side']}, boot {each['number']}: {each['end']}: {_line(each)}"
            for each in _failed(kept)
        ),
    ]


def _machine(machine: Mapping[str, Any]) -> str:
    """Return what the boots were made on, a guest or a host, in words."""
    size = f"{machine['cpus']} CPUs, {machine['nodes']} nodes, {machine['memory_mib']} MiB"
    if "host" in machine:
        return f"{machine['host']}, {size}, restarted by {machine['boot']}"
    return f"{size}, {'KVM' if machine['accel'] == 'kvm' else 'emulated (TCG)'}"


def _failed(kept: Kept) -> Iterator[Mapping[str, Any]]:
    """Yield the first failed attempt of each side and kind."""
    seen = set()
    for each in kept.attempts:
        kind = each["side"], each["end"]
        if each["end"] != OK and kind not in seen:
            seen.add(kind)
            yield each


def _line(attempt: Mapping[str, Any]) -> str:
    lines = str(attempt.get("reason", "")).splitlines()
    return lines[0] if lines else "no reason is known"


def noise(halves: Comparison | None) -> str:
    """Return by how much the halves of base's own boots differ."""
    rows = [] if halves is None else [r for r in halves.deciding if r.change_percent is not None]
    if not rows:
        return "base against itself: too few boots"
    worst = max(rows, key=lambda row: abs(row.harm))
    return (
        "base against itself, every second boot: the largest against its threshold is "
        f"{worst.change_percent:+.1f} % ({describe(worst)})"
    )


def text(lines: Sequence[str], made: Comparison | None, tail: Sequence[str]) -> str:
    """Return the verdict for a cover letter, and the whole table below it."""
    blocks = ["\n".join(wrapped for line in lines for wrapped in _wrap(line))]
    if made is not None:
        blocks.append(format_short.render(made).rstrip("\n"))
    blocks.append("\n".join(wrapped for line in tail for wrapped in _wrap(line)))
    if made is not None:
        blocks.append(format_text.render(made).rstrip("\n"))
    return "\n\n".join(blocks) + "\n"


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""]


def markdown(lines: Sequence[str], made: Comparison | None, tail: Sequence[str]) -> str:
    """Return the same as Markdown."""
    listed = "\n".join(f"- {line}" for line in (*lines[1:], *tail))
    table = format_markdown.render(made) if made is not None else ""
    return f"**{lines[0]}**\n\n{listed}\n\n{table}".rstrip("\n") + "\n"


def as_json(kept: Kept, outcome: str, why: str, code: int, made: Comparison | None) -> str:
    """Return the same for programs: the plan, the attempts, and the comparison."""
    document = {
        "verdict": outcome,
        "exit_code": code,
        "why": why,
        "plan": kept.plan,
        "attempts": kept.attempts,
        "looks": kept.looks,
        "comparison": json.loads(format_json.render(made)) if made is not None else None,
    }
    return json.dumps(document, indent=1) + "\n"

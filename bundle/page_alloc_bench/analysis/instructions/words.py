# SPDX-License-Identifier: GPL-2.0-only
"""The verdict of an exact comparison as text of at most 72 columns, for a cover letter too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from page_alloc_bench.analysis.instructions.path_length import Difference, Side, verdict

_FUNCTIONS = 8  # of each case


def text(base: Side, new: Side, differences: Sequence[Difference], threshold: float) -> str:
    """Return the verdict on NEW against BASE, the table, and the functions that made it."""
    return "\n".join(_lines(base, new, differences, threshold)) + "\n"


def _lines(
    base: Side, new: Side, differences: Sequence[Difference], threshold: float
) -> Iterator[str]:
    yield f"base: {base.label}"
    yield f"new:  {new.label}"
    yield (
        f"{verdict(differences, threshold)}: "
        f"{sum(each.part > threshold for each in differences)} of {len(differences)} cases "
        f"are more than {threshold:.2%} longer"
    )
    yield ""
    yield "Instructions of one allocation and its free; emulated, exact:"
    yield f"{'pattern':<12}{'order':>5}{'base':>11}{'new':>11}{'diff':>10}{'':>9}{'atomics':>13}"
    for each in differences:
        base_atomics, new_atomics = each.base.atomics, each.new.atomics
        atomics = ""
        if base_atomics is not None and new_atomics is not None:
            atomics = f"{base_atomics:.2f} {new_atomics:.2f}"
        yield (
            f"{each.case.pattern:<12}{each.case.order:>5}{each.base.instructions:>11.2f}"
            f"{each.new.instructions:>11.2f}"
            f"{each.new.instructions - each.base.instructions:>+10.2f}{each.part:>+9.2%}"
            f"{atomics:>13}"
        )
    for each in differences:
        yield from _functions(each)
    worst = max((each.error for each in differences), default=0.0)
    yield ""
    yield f"Boots of one kernel differ by at most {worst:.1e}, base {len(base.results)} boots,"
    yield f"new {len(new.results)}. This is the length of the path, not cache misses or locks."


def _functions(each: Difference) -> Iterator[str]:
    if not each.functions:
        return
    yield ""
    yield f"{each.case}, by function:"
    for name, before, after in each.functions[:_FUNCTIONS]:
        yield f"  {name[:37]:<38}{before:>10.2f}{after:>10.2f}{after - before:>+10.2f}"
    left = each.functions[_FUNCTIONS:]
    if left:
        rest = sum(after - before for _, before, after in left)
        yield f"  {f'{len(left)} more':<58}{rest:>+10.2f}"


def as_json(
    base: Side, new: Side, differences: Sequence[Difference], threshold: float
) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "unit": "instructions",
        "base": base.label,
        "new": new.label,
        "verdict": verdict(differences, threshold),
        "threshold": threshold,
        "boots": {"base": len(base.results), "new": len(new.results)},
        "cases": [
            {
                "pattern": each.case.pattern,
                "order": each.case.order,
                "base": each.base._asdict(),
                "new": each.new._asdict(),
                "error": each.error,
                "functions": [
                    {"name": name, "base": before, "new": after}
                    for name, before, after in each.functions
                ],
            }
            for each in differences
        ],
    }

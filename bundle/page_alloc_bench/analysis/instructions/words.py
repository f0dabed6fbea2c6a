# SPDX-License-Identifier: GPL-2.0-only
"""The verdict of an exact comparison as text of at most 72 columns, for a cover letter too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from .path_length import LAYOUT, Difference, Function, Side, verdict

WIDTH = 72
MOST = 8  # functions that are told by name of each case
_NAME = 23


def text(base: Side, new: Side, differences: Sequence[Difference], threshold: float) -> str:
    """Return the verdict on NEW against BASE, the table, and the functions that made it."""
    return "\n".join(_lines(base, new, differences, threshold)) + "\n"


def _lines(
    base: Side, new: Side, differences: Sequence[Difference], threshold: float
) -> Iterator[str]:
    yield f"base: {base.label}"
    yield f"new:  {new.label}"
    longer = [each for each in differences if each.part - each.error > each.least(threshold)]
    yield (
        f"{verdict(differences, threshold)}: {len(longer)} of {len(differences)} cases are more "
        f"than {threshold:.2%} longer"
    )
    may_be = [each for each in differences if each.part + each.error > each.least(threshold)]
    unclear = len(may_be) - len(longer)
    if unclear:
        yield f"({unclear} cannot be told: the boots of one kernel differ too much)"
    raised = [each for each in differences if each.least(threshold) > threshold]
    if raised:
        orders = ", ".join(str(order) for order in sorted({each.order for each in raised}))
        noun = "order" if orders.isdecimal() else "orders"
        yield f"({LAYOUT:.2%} at {noun} {orders}: which pages are free counts there)"
    yield ""
    yield "Instructions of one allocation and its free; emulated, exact:"
    yield f"{'pattern':<12}{'order':>5}{'base':>11}{'new':>11}{'diff':>10}{'':>9}{'atomics':>13}"
    for each in differences:
        base_atomics, new_atomics = each.base.atomics, each.new.atomics
        atomics = ""
        if base_atomics is not None and new_atomics is not None:
            atomics = f"{base_atomics:.2f} {new_atomics:.2f}"
        yield (
            f"{each.pattern:<12}{each.order:>5}{each.base.instructions:>11.2f}"
            f"{each.new.instructions:>11.2f}"
            f"{each.new.instructions - each.base.instructions:>+10.2f}{each.part:>+9.2%}"
            f"{atomics:>13}"
        )
    yield from by_function(differences)
    worst = max((each.error for each in differences), default=0.0)
    yield ""
    yield f"Boots of one kernel differ by at most {worst:.1e}, base {len(base.results)} boots,"
    yield f"new {len(new.results)}. This is the length of the path, not cache misses or locks."


def by_function(differences: Sequence[Difference], most: int = MOST) -> Iterator[str]:
    """Yield, of each case, which functions made the difference, the largest first.

    MOST: functions that are named; what the others changed by is one line, so that all lines add up
    to the first.
    """
    for each in differences:
        found = each.functions
        if found is None:
            continue
        yield ""
        yield f"{each.case}, of one operation by function:"
        yield f" {'':<{_NAME}}{'base':>9}{'new':>9}{'diff':>9}{'atomic':>7}{'load':>7}{'store':>7}"
        yield from _row(found.whole)
        yield from _row(found.module)
        for part in found.parts[:most]:
            yield from _row(part)
        left = [*found.parts[most:], found.rest]
        count = len(left) - 1 + int(found.rest.name.partition(" ")[0])
        yield from _row(_together(f"{count} others", left))
        spread = f"±{each.base_spread:.4f} ±{each.new_spread:.4f}"
        yield f" {'boots differ by':<{_NAME}}{spread:>18}"


def shortly(differences: Sequence[Difference], most: int = 3) -> Iterator[str]:
    """Yield a line for each pattern: the functions that make the largest of its differences."""
    patterns = dict.fromkeys(each.pattern for each in differences)
    for pattern in patterns:
        mine = [each for each in differences if each.pattern == pattern and each.functions]
        mine.sort(key=lambda each: -abs(each.new.instructions - each.base.instructions))
        for each in mine[:1]:
            assert each.functions is not None, "as selected above"
            named = [f"{f.name} {f.change.instructions:+.2f}" for f in each.functions.parts[:most]]
            if named:
                yield f"  {each.case}, instructions: {', '.join(named)}"


def _together(name: str, functions: Sequence[Function]) -> Function:
    """Return several as one."""
    base, new = functions[0].base, functions[0].new
    for each in functions[1:]:
        base, new = base + each.base, new + each.new
    return Function(name, base, new)


def _row(each: Function) -> Iterator[str]:
    """Yield a line, or two where the name is long."""
    change = each.change
    name = each.name
    if len(name) > _NAME:
        yield f" {name}"[:WIDTH]
        name = ""
    yield (
        f" {name:<{_NAME}}{each.base.instructions:>9.2f}{each.new.instructions:>9.2f}"
        f"{change.instructions:>+9.2f}{_signed(change.atomics, 7, 2)}"
        f"{_signed(change.loads, 7, 1)}{_signed(change.stores, 7, 1)}"
    ).rstrip()


def _signed(value: float | None, width: int, digits: int) -> str:
    """Return a change; a point where there is none, nothing where it is not known."""
    if value is None:
        return " " * width
    text = f"{value:+.{digits}f}"
    return f"{'.' if float(text) == 0 else text:>{width}}"


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
        "cases": [{**asdict(each), "threshold": each.least(threshold)} for each in differences],
    }

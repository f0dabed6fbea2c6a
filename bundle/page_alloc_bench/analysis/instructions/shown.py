# SPDX-License-Identifier: GPL-2.0-only
"""Where the instructions of one result are: a table by function, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .path_length import MODULE, NOTHING, Case, Cost, Side

MOST = 12  # functions that are named
_NAME = 34


def by_function(side: Side, case: Case, most: int = MOST) -> Iterator[str]:
    """Yield what an operation costs, by function, the most instructions first.

    The first line is the whole; the others add up to it. Nothing where functions were not counted.
    """
    whole = side.whole(case)
    if whole is None:
        return
    found = side.functions(case)
    module = found.pop(MODULE, NOTHING)
    ordered = sorted(found, key=lambda name: (-found[name].instructions, name))
    yield f"  {case}, of one operation by function:"
    yield f"    {'':<{_NAME}}{'instr.':>9}{'atomic':>7}{'loads':>8}{'stores':>8}"
    yield _row("all", whole)
    yield _row(f"{MODULE}, the benchmark's own", module)
    for name in ordered[:most]:
        yield _row(name, found[name])
    left = whole - _sum([module, *(found[name] for name in ordered[:most])])
    if len(ordered) > most:
        yield _row(f"{len(ordered) - most} others", left)


def _sum(costs: Sequence[Cost]) -> Cost:
    total = NOTHING
    for cost in costs:
        total = total + cost
    return total


def _row(name: str, cost: Cost) -> str:
    cells = [
        " " * width if value is None else f"{value + 0.0:>{width}.2f}"
        for value, width in ((cost.atomics, 7), (cost.loads, 8), (cost.stores, 8))
    ]
    return f"    {name[:_NAME]:<{_NAME}}{cost.instructions:>9.2f}{''.join(cells)}".rstrip()

# SPDX-License-Identifier: GPL-2.0-only
"""Where the instructions of one result are: a table by function, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from page_alloc_bench.runner.result import columns

from .path_length import MODULE, NOTHING, Case, Cost, Side

MOST = 12  # functions that are named
_INDENT, _NAME, _LEAST_NAME, _WHOLE = 4, 34, 20, 9  # columns
# What is counted besides instructions, and its columns; the last goes first where there is no room.
_OTHERS = (("atomics", "atomic", 7), ("loads", "loads", 8), ("stores", "stores", 8))


def by_function(side: Side, case: Case, width: int, most: int = MOST) -> Iterator[str]:
    """Yield what an operation costs, by function, the most instructions first.

    The first line is the whole; the others add up to it. Nothing where functions were not counted.
    width: columns, as many kinds as fit into which are told.
    """
    whole = side.whole(case)
    if whole is None:
        return
    found = side.functions(case)
    module = found.pop(MODULE, NOTHING)
    ordered = sorted(found, key=lambda name: (-found[name].instructions, name))
    heading = f"{case}, of one operation by function:"
    yield from columns.wrap(heading, width, " " * _INDENT, first="  ")
    table = _Table(width)
    yield table.head()
    yield from table.row("all", whole)
    yield from table.row(f"{MODULE}, the benchmark's own", module)
    for name in ordered[:most]:
        yield from table.row(name, found[name])
    left = whole - _sum([module, *(found[name] for name in ordered[:most])])
    if len(ordered) > most:
        yield from table.row(f"{len(ordered) - most} others", left)


def _sum(costs: Sequence[Cost]) -> Cost:
    total = NOTHING
    for cost in costs:
        total = total + cost
    return total


class _Table:
    def __init__(self, width: int) -> None:
        self._others = list(_OTHERS)
        while self._others and width - self._taken() < _LEAST_NAME:
            self._others.pop()
        self._name = min(_NAME, width - self._taken())

    def _taken(self) -> int:
        """Return how many columns are not for the name."""
        return _INDENT + _WHOLE + sum(room for _, _, room in self._others)

    def head(self) -> str:
        """Return what stands above the rows."""
        others = "".join(f"{head:>{room}}" for _, head, room in self._others)
        return f"{'':{_INDENT + self._name}}{'instr.':>{_WHOLE}}{others}"

    def row(self, name: str, cost: Cost) -> Iterator[str]:
        """Yield a line, or two where the name is long."""
        if len(name) > self._name:
            yield f"{'':{_INDENT}}{name}"
            name = ""
        values = [(getattr(cost, kind), room) for kind, _, room in self._others]
        cells = "".join(
            " " * room if value is None else f"{value + 0.0:>{room}.2f}" for value, room in values
        )
        line = f"{'':{_INDENT}}{name:<{self._name}}{cost.instructions:>{_WHOLE}.2f}{cells}"
        yield line.rstrip()

# SPDX-License-Identifier: GPL-2.0-only
"""What an allocation and its free cost in several kernels: a table, a picture, who grew."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import path_length
from .path_length import Case, Difference, Side

_WIDTH = 72
_GREW = 4  # functions that are named of each step


@dataclass(frozen=True)
class Releases:
    """Kernels in the order in which they are to be told, the first being what others are held to.

    cases: that every kernel has. left_out: what of the others, a clause each.
    """

    sides: tuple[Side, ...]
    cases: tuple[Case, ...]
    left_out: tuple[str, ...]

    def costs(self, case: Case) -> list[float]:
        """Return the instructions of an operation, of each kernel."""
        return [side.cost(case).instructions for side in self.sides]

    def steps(self, case: Case) -> list[Difference]:
        """Return what each kernel differs by from the one before it."""
        pairs = zip(self.sides, self.sides[1:])
        return [
            each
            for before, after in pairs
            for each in path_length.compare(before, after)
            if each.case == case
        ]


def gather(sides: Sequence[Side]) -> Releases:
    """Return what the kernels have in common."""
    having = {side.name: side.cases() for side in sides}
    every = sorted({case for cases in having.values() for case in cases})
    common = tuple(case for case in every if all(case in cases for cases in having.values()))
    left_out = [
        f"{side.label} has no {case}"
        for side in sides
        for case in every
        if case not in having[side.name]
    ]
    return Releases(tuple(sides), common, tuple(left_out))


def names(releases: Releases) -> list[str]:
    """Return a short name of each kernel: what is told of it until the first - or blank."""
    long = [side.label for side in releases.sides]
    short = [label.split("(")[-1].split(" of the list")[0].rstrip(")") for label in long]
    usable = len(set(short)) == len(short) and all(len(name) <= 12 for name in short)
    return short if usable else [label[:12] for label in long]


def markdown(releases: Releases) -> str:
    """Return the table and the functions that grew, for a document."""
    head = names(releases)
    lines = [
        f"| pattern | order | {' | '.join(head)} | {head[-1]} against {head[0]} |",
        f"| --- | ---: |{' ---: |' * (len(head) + 1)}",
    ]
    for case in releases.cases:
        costs = releases.costs(case)
        cells = " | ".join(f"{cost:,.1f}" for cost in costs)
        change = costs[-1] / costs[0] - 1
        lines.append(f"| {case.pattern} | {case.order} | {cells} | {change:+.1%} |")
    lines += ["", *_notes(releases), "", *grown(releases)]
    return "\n".join(lines) + "\n"


def text(releases: Releases) -> str:
    """Return the same for a terminal; a line is longer than 72 columns only in the table."""
    lines = [
        part
        for line in markdown(releases).splitlines()
        for part in ([line] if line.startswith("|") else textwrap.wrap(line, _WIDTH) or [""])
    ]
    return "\n".join(lines) + "\n"


def _notes(releases: Releases) -> Iterator[str]:
    kernels = ", ".join(side.label for side in releases.sides)
    yield (
        f"Instructions of one allocation and its free. Kernels: {kernels}. {_spreads(releases)} "
        "It is the length of the path, not cache misses or locks."
    )
    for what in releases.left_out:
        yield f"Left out: {what}."
    for side in releases.sides:
        if not any(side.whole(case) for case in releases.cases):
            yield f"Left out: the functions of {side.label}, which were not counted."


def _spreads(releases: Releases) -> str:
    """Say how far the boots of one kernel differ: the error of each figure."""
    found = [
        (side.spread(case), f"{case}, {name}")
        for side, name in zip(releases.sides, names(releases))
        for case in releases.cases
    ]
    if not found:
        return "No case is counted in all kernels."
    worst, where = max(found)
    half = statistics.median(spread for spread, _ in found)
    return (
        f"Boots of one kernel differ by {100 * worst:.2g} % at most ({where}), "
        f"and by {100 * half:.2g} % or less in half of the figures."
    )


def grown(releases: Releases) -> Iterator[str]:
    """Yield, of each pattern at the first and the last order, which functions grew at each step."""
    head = names(releases)
    for case in _told(releases.cases):
        steps = releases.steps(case)
        for (before, after), step in zip(zip(head, head[1:]), steps):
            if step.functions is None:
                continue
            ordered = sorted(step.functions.parts, key=lambda f: -f.change.instructions)
            rows = [f for f in ordered if f.change.instructions > 0][:_GREW]
            named = ", ".join(f"`{f.name}` {f.change.instructions:+.1f}" for f in rows)
            whole = step.functions.whole.change.instructions
            yield f"- {case}, {before} → {after}, {whole:+.1f}: {named or 'none grew'}"


def _told(cases: Sequence[Case]) -> list[Case]:
    """Return the least and the largest order of each pattern."""
    found = []
    for pattern in dict.fromkeys(case.pattern for case in cases):
        orders = [case for case in cases if case.pattern == pattern]
        found += [orders[0], *([orders[-1]] if len(orders) > 1 else [])]
    return found

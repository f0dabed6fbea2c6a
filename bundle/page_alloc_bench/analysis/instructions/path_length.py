# SPDX-License-Identifier: GPL-2.0-only
"""What two kernels differ by, in instructions of an allocation and its free, and in which function.

Results in, a verdict out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

# What compilers and the kernel add to the name of a function that is the same for people.
_SUFFIX = re.compile(r"(\.(isra|constprop|part|cold|llvm)(\.\d+)*|_noprof)+$")
_LEAST = 0.05  # of a function's instructions per operation: less is not told


class Case(NamedTuple):
    """What was measured at once."""

    pattern: str
    order: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.pattern} at order {self.order}"


class Cost(NamedTuple):
    """Of one operation, an allocation and a free. None where it was not counted."""

    instructions: float
    atomics: float | None = None
    loads: float | None = None
    stores: float | None = None


@dataclass(frozen=True)
class Side:
    """The boots of one kernel."""

    name: str
    label: str
    results: Sequence[Mapping[str, Any]]

    def cases(self) -> list[Case]:
        """Return what was measured, in the order of time."""
        if not self.results:
            return []
        return [Case(e["pattern"], e["order"]) for e in self.results[0]["run"]["exact"]["cases"]]

    def boots(self, case: Case) -> list[float]:
        """Return the instructions of an operation, of each boot."""
        return [
            each["instructions"] / each["allocs"]
            for result in self.results
            for each in result["run"]["exact"]["cases"]
            if (each["pattern"], each["order"]) == case
        ]

    def spread(self, case: Case) -> float:
        """Return by which part the boots differ at most."""
        boots = self.boots(case)
        return (max(boots) - min(boots)) / _middle(boots) if boots else 0.0

    def cost(self, case: Case) -> Cost:
        """Return what an operation costs, in the middle of the boots."""
        totals = [each["total"] for each in self._where(case)]
        counted: list[float | None] = []
        for kind in ("atomics", "loads", "stores"):
            values = [
                total[kind] / each["operations"]
                for total, each in zip(totals, self._where(case))
                if total[kind] is not None
            ]
            counted.append(_middle(values) if values else None)
        return Cost(_middle(self.boots(case)), *counted)

    def functions(self, case: Case) -> dict[str, float]:
        """Return the instructions of an operation by function, in the middle of the boots."""
        found: dict[str, list[float]] = defaultdict(list)
        boots = self._where(case)
        for each in boots:
            of_boot: dict[str, float] = defaultdict(float)
            for function in each["functions"]:
                of_boot[plain(function["name"])] += function["instructions"] / each["operations"]
            for name, value in of_boot.items():
                found[name].append(value)
        return {
            name: _middle([*values, *[0.0] * (len(boots) - len(values))])
            for name, values in found.items()
        }

    def widths(self, case: Case) -> dict[str, float]:
        """Return by how many instructions of an operation the boots differ, by function."""
        boots = [
            {f["name"]: f["instructions"] / each["operations"] for f in each["functions"]}
            for each in self._where(case)
        ]
        names = {name for of_boot in boots for name in of_boot}
        values = {name: [of_boot.get(name, 0.0) for of_boot in boots] for name in names}
        return {name: max(found) - min(found) for name, found in values.items()}

    def _where(self, case: Case) -> list[Mapping[str, Any]]:
        return [
            each
            for result in self.results
            for each in result["run"].get("where", ())
            if (each["pattern"], each["order"]) == case
        ]


def plain(name: str) -> str:
    """Return the name of a function without what compilers add to it."""
    return _SUFFIX.sub("", name)


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def differing(side: Side, case: Case) -> list[str]:
    """Return the functions in which the boots of a side differ most, with by how much."""
    widths = side.widths(case)
    worst = sorted(widths, key=lambda name: -widths[name])[:3]
    return [f"{name} ({widths[name]:.3f})" for name in worst if widths[name] > 0.001]


@dataclass(frozen=True)
class Difference:
    """What one case differs by. error: the part by which boots of one kernel differ."""

    case: Case
    base: Cost
    new: Cost
    error: float
    functions: tuple[tuple[str, float, float], ...]  # name, base, new; the largest change first

    @property
    def part(self) -> float:
        """Return the difference as a part of the base."""
        return self.new.instructions / self.base.instructions - 1


def compare(base: Side, new: Side) -> Iterator[Difference]:
    """Yield the difference of each case that both sides have."""
    for case in base.cases():
        if case not in new.cases():
            continue
        before, after = base.functions(case), new.functions(case)
        rows = [(name, before.get(name, 0.0), after.get(name, 0.0)) for name in {**before, **after}]
        rows = [row for row in rows if abs(row[2] - row[1]) >= _LEAST]
        rows.sort(key=lambda row: (-abs(row[2] - row[1]), row[0]))
        error = base.spread(case) + new.spread(case)
        yield Difference(case, base.cost(case), new.cost(case), error, tuple(rows))


def verdict(differences: Sequence[Difference], threshold: float) -> str:
    """Return "regression", "no regression", or "cannot tell" for a THRESHOLD as a part."""
    if any(each.part - each.error > threshold for each in differences):
        return "regression"
    if any(each.part + each.error > threshold for each in differences):
        return "cannot tell"
    return "no regression" if differences else "cannot tell"

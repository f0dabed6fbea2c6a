# SPDX-License-Identifier: GPL-2.0-only
"""What two kernels differ by, in instructions of an allocation and its free, and in which function.

Results in, a verdict out. Nothing is estimated: the difference between the boots of one kernel is
the error.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

# What compilers and the kernel add to the name of a function that is the same for people.
_SUFFIX = re.compile(r"(\.(isra|constprop|part|cold|llvm)(\.\d+)*|_noprof)+$")
LEAST = 0.05  # of a function's instructions per operation: less is not told by its name
# Where an operation splits and merges blocks, its length depends on which pages are free. Another
# size of one of the kernel's tables moved pairs on 6.1 by 0.28 % at order 4, and by 0.001 % at
# order 0. A change of the code does that too, and not by what it costs. These orders are on no list
# of a CPU (pcp_allowed_order(), mm/page_alloc.c, since 5.14; before, order 0 alone is).
LAYOUT = 0.005
OFF_LISTS = (4, 5, 6, 7, 8, 10)
MODULE = "[module]"  # the benchmark's own, as targets/where.py names it


class Case(NamedTuple):
    """What was measured at once."""

    pattern: str
    order: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.pattern} at order {self.order}"


@dataclass(frozen=True)
class Cost:
    """Of one operation, an allocation and a free. None where it was not counted."""

    instructions: float
    atomics: float | None = None
    loads: float | None = None
    stores: float | None = None

    def __add__(self, other: Cost) -> Cost:
        """Return the sum of each; None where one of the two is."""
        return self._with(other, 1)

    def __sub__(self, other: Cost) -> Cost:
        """Return the difference of each; None where one of the two is."""
        return self._with(other, -1)

    def _with(self, other: Cost, factor: int) -> Cost:
        pairs = ((getattr(self, kind), getattr(other, kind)) for kind in KINDS)
        return Cost(*(None if a is None or b is None else a + factor * b for a, b in pairs))  # type: ignore[arg-type]


KINDS = tuple(field.name for field in fields(Cost))
NOTHING = Cost(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Side:
    """The boots of one kernel. results: of each the document, as JSON has it."""

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
        return [each["instructions"] / each["allocs"] for each in self._cases(case)]

    def spread(self, case: Case) -> float:
        """Return by which part the boots differ at most."""
        boots = self.boots(case)
        return (max(boots) - min(boots)) / middle(boots) if boots else 0.0

    def apart(self, case: Case) -> int:
        """Return by how many instructions of the whole case the boots differ at most."""
        counts = [each["instructions"] for each in self._cases(case)]
        return max(counts) - min(counts) if counts else 0

    def cost(self, case: Case) -> Cost:
        """Return what an operation costs, in the middle of the boots."""
        whole = self.whole(case)
        instructions = middle(self.boots(case))
        if whole is None:
            return Cost(instructions)
        return Cost(instructions, whole.atomics, whole.loads, whole.stores)

    def whole(self, case: Case) -> Cost | None:
        """Return the sum of all functions, in the middle of the boots; None if none was counted."""
        found = [_per_operation(each["total"], each["operations"]) for each in self._where(case)]
        return _middle_cost(found) if found else None

    def functions(self, case: Case) -> dict[str, Cost]:
        """Return the cost of an operation by function, in the middle of the boots."""
        boots = self._where(case)
        found: dict[str, list[Cost]] = defaultdict(list)
        for each in boots:
            for name, counts in _gathered(each["functions"]).items():
                found[name].append(_per_operation(counts, each["operations"]))
        return {
            name: _middle_cost([*costs, *[NOTHING] * (len(boots) - len(costs))])
            for name, costs in found.items()
        }

    def widths(self, case: Case) -> dict[str, float]:
        """Return by how many instructions of an operation the boots differ, by function."""
        boots = [
            {
                name: (counts["instructions"] or 0) / each["operations"]
                for name, counts in _gathered(each["functions"]).items()
            }
            for each in self._where(case)
        ]
        names = {name for of_boot in boots for name in of_boot}
        values = {name: [of_boot.get(name, 0.0) for of_boot in boots] for name in names}
        return {name: max(found) - min(found) for name, found in values.items()}

    def _cases(self, case: Case) -> list[Mapping[str, Any]]:
        return [
            each
            for result in self.results
            for each in result["run"]["exact"]["cases"]
            if (each["pattern"], each["order"]) == case
        ]

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


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _gathered(functions: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int | None]]:
    """Return the counts by plain name: the parts of a function that was divided are added up."""
    found: dict[str, dict[str, int | None]] = {}
    for each in functions:
        counts = found.setdefault(plain(each["name"]), dict.fromkeys(KINDS, 0))
        for kind in KINDS:
            had, more = counts[kind], each[kind]
            counts[kind] = None if had is None or more is None else had + more
    return found


def _per_operation(counts: Mapping[str, Any], operations: int) -> Cost:
    each = (counts[kind] for kind in KINDS)
    return Cost(*(None if count is None else count / operations for count in each))  # type: ignore[arg-type]


def _middle_cost(costs: Sequence[Cost]) -> Cost:
    found = []
    for kind in KINDS:
        values = [getattr(cost, kind) for cost in costs]
        found.append(None if None in values else middle(values))
    return Cost(*found)  # type: ignore[arg-type]


def differing(side: Side, case: Case) -> list[str]:
    """Return the functions in which the boots of a side differ most, with by how much."""
    widths = side.widths(case)
    worst = sorted(widths, key=lambda name: -widths[name])[:3]
    return [f"{name} ({widths[name]:.3f})" for name in worst if widths[name] > 0.001]


@dataclass(frozen=True)
class Function:
    """What one function of the kernel, or several, cost on both sides."""

    name: str
    base: Cost
    new: Cost

    @property
    def change(self) -> Cost:
        """Return by how much new costs more."""
        return self.new - self.base


@dataclass(frozen=True)
class ByFunction:
    """A whole and its parts: the parts, the module's own and the rest add up to it.

    parts: those that differ by LEAST or more, the largest change first. module: the benchmark's
    own. rest: all others, with the number of them in its name.
    """

    whole: Function
    module: Function
    parts: tuple[Function, ...]
    rest: Function


@dataclass(frozen=True)
class Difference:
    """What one case differs by.

    error: the part by which the boots of base and those of new differ, added up. base_spread,
    new_spread: by how many instructions of an operation. functions: None where they were not
    counted on both sides.
    """

    pattern: str
    order: int
    base: Cost
    new: Cost
    error: float
    base_spread: float
    new_spread: float
    functions: ByFunction | None

    @property
    def case(self) -> Case:
        """Return what was measured."""
        return Case(self.pattern, self.order)

    @property
    def part(self) -> float:
        """Return the difference as a part of the base."""
        return self.new.instructions / self.base.instructions - 1

    def least(self, threshold: float) -> float:
        """Return the part that a regression exceeds: THRESHOLD, or LAYOUT if that is more."""
        return max(threshold, LAYOUT) if self.order in OFF_LISTS else threshold


def compare(base: Side, new: Side) -> Iterator[Difference]:
    """Yield the difference of each case that both sides have."""
    for case in base.cases():
        if case in new.cases():
            yield Difference(
                *case,
                base=base.cost(case),
                new=new.cost(case),
                error=base.spread(case) + new.spread(case),
                base_spread=_width(base.boots(case)),
                new_spread=_width(new.boots(case)),
                functions=_by_function(base, new, case),
            )


def _width(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _by_function(base: Side, new: Side, case: Case) -> ByFunction | None:
    wholes = base.whole(case), new.whole(case)
    if wholes[0] is None or wholes[1] is None:
        return None
    whole = Function("all", wholes[0], wholes[1])
    before, after = base.functions(case), new.functions(case)
    every = [
        Function(name, before.get(name, NOTHING), after.get(name, NOTHING))
        for name in {**before, **after}
    ]
    module = next((each for each in every if each.name == MODULE), Function(MODULE, *[NOTHING] * 2))
    others = [each for each in every if each.name != MODULE]
    parts = [each for each in others if abs(each.change.instructions) >= LEAST]
    parts.sort(key=lambda each: (-abs(each.change.instructions), each.name))
    # By subtraction, so that the sum is the whole also where medians of boots are not.
    left = Function(
        f"{len(others) - len(parts)} others",
        _less(whole.base, [module.base, *(each.base for each in parts)]),
        _less(whole.new, [module.new, *(each.new for each in parts)]),
    )
    return ByFunction(whole, module, tuple(parts), left)


def _less(whole: Cost, parts: Iterable[Cost]) -> Cost:
    for part in parts:
        whole = whole - part
    return whole


def verdict(differences: Sequence[Difference], threshold: float) -> str:
    """Return "regression", "no regression", or "cannot tell" for a THRESHOLD as a part."""
    limits = [(each, each.least(threshold)) for each in differences]
    if any(each.part - each.error > least for each, least in limits):
        return "regression"
    if any(each.part + each.error > least for each, least in limits):
        return "cannot tell"
    return "no regression" if differences else "cannot tell"

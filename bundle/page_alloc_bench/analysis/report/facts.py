# SPDX-License-Identifier: GPL-2.0-only
"""Everything that results say of themselves, one line per fact, sides beside each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from page_alloc_bench.analysis.facts import is_of_a_run

from .sides import Side

# What pictures and tables show, and the warnings, which stand first.
_ELSEWHERE = (
    "phases",
    "iterations",
    "warnings",
    "ended",
    "complete",
    "preflight",
    "stall",
    "estimate",
)
_SHOWN_VALUES = 3  # different values of a fact on one side; more are counted


@dataclass(frozen=True)
class Fact:
    """A fact. values: what each side says. varies: within a side; differs: between the sides."""

    name: str
    values: Sequence[str]
    varies: bool
    differs: bool


def every(sides: Sequence[Side]) -> list[Fact]:
    """Return all facts that any run has, those of one object together."""
    flat = [[dict(_flatten(result.run)) for result in side.results] for side in sides]
    names = list(dict.fromkeys(name for side in flat for run in side for name in run))
    return [_fact(name, [[run.get(name) for run in side] for side in flat]) for name in names]


def _fact(name: str, told: Sequence[Sequence[str | None]]) -> Fact:
    sets = [set(values) for values in told]
    chance = is_of_a_run(name) or name.startswith("clocks")
    return Fact(
        name=name,
        values=[_side(values) for values in told],
        varies=not chance and any(len(values) > 1 for values in sets),
        differs=not chance and any(values != sets[0] for values in sets),
    )


def _side(values: Sequence[str | None]) -> str:
    """Return what one side says: a value, or several with how many runs say so."""
    counts = Counter("not recorded" if value is None else value for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    if len(counts) > _SHOWN_VALUES:
        return f"{len(counts)} different values{_range(list(counts))}"
    return "; ".join(f"{value} ({count} runs)" for value, count in counts.items())


def _range(values: Sequence[str]) -> str:
    """Return the ends of values that are numbers."""
    try:
        ordered = sorted(values, key=float)
    except ValueError:
        return ""
    return f", from {ordered[0]} to {ordered[-1]}"


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of every leaf; lists of plain values are leaves."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if name or key not in _ELSEWHERE:
                yield from _flatten(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            yield from _flatten(item, f"{name}[{_which(item, number)}]")
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _which(item: Any, number: int) -> str:
    """Return how an item of a list is told from the others."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(number)


def warnings(side: Side) -> list[tuple[str, int]]:
    """Return what makes a side's results less than they should be, and in how many runs."""
    counts: Counter[str] = Counter()
    for result in side.results:
        run = result.run
        texts = [*run["warnings"]]
        for item in run["iterations"]:
            texts += item.get("warnings", [])
        if not run["complete"]:
            reason = (run.get("ended") or {}).get("reason") or "no reason is recorded"
            texts.append(f"The run is not complete: {reason}")
        counts.update(set(map(str, texts)))
    return counts.most_common()


def findings(side: Side) -> list[tuple[str, ...]]:
    """Return what was found before the runs began, the most frequent first.

    Name of the check, its severity, what was found, what that means, and in how many runs.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for result in side.results:
        for finding in result.run.get("preflight", ()):
            severity = "accepted by the user" if finding.get("accepted") else finding["severity"]
            told = (finding["name"], severity, finding["found"], finding["meaning"])
            counts[tuple(map(str, told))] += 1
    return [(*texts, str(count)) for texts, count in counts.most_common()]


def stalls(side: Side) -> list[tuple[str, str]]:
    """Return what the kernel said in runs in which nothing moved: fact, and text of many lines."""
    rows = []
    for result in side.results:
        stall = dict(result.run.get("stall") or {})
        log = "\n".join(map(str, stall.pop("kernel_log", ())))
        tasks = "\n".join(
            "{tid} {name} {state} {wchan}\n{stack}".format_map(_Blanks(task))
            for task in stall.pop("tasks", ())
        )
        if stall:
            stall |= {"tasks": tasks, "kernel_log": log}
            rows += [(f"{result.path}: {name}", str(value)) for name, value in stall.items()]
    return rows


class _Blanks(dict[str, Any]):
    """Has a word for what it has not."""

    def __missing__(self, _key: str) -> str:
        return "?"

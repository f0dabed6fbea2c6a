# SPDX-License-Identifier: GPL-2.0-only
"""What a report is about: one side of runs, or two to be held against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from page_alloc_bench.analysis.results import Result

_LONGEST = 40  # of a label's detail; a command line may differ in much more than fits a legend


@dataclass(frozen=True, eq=False)
class Side:
    """The runs of one kernel.

    key: "base" or "new", which pictures choose colours by. label: what people call it, with what
    tells it from the other side.
    """

    key: str
    label: str
    results: tuple[Result, ...]

    @property
    def runs(self) -> str:
        """Return how many there are, in words."""
        return f"{len(self.results)} run{'s' * (len(self.results) != 1)}"

    @property
    def legend(self) -> str:
        """Return the label with the number of runs."""
        return f"{self.label}, {self.runs}"


def make(base: Sequence[Result], new: Sequence[Result] = ()) -> list[Side]:
    """Return the sides of a report: one, or two if there are new results."""
    if not new:
        return [Side("base", _name(base), tuple(base))]
    details = _telling(base, new)
    return [
        Side(key, f"{key} ({detail})" if detail else key, tuple(results))
        for key, results, detail in zip(("base", "new"), (base, new), details)
    ]


def orders(sides: Sequence[Side]) -> list[int]:
    """Return every order that any run measured, ascending."""
    return sorted({order for result in runs(sides) for order in result.orders})


def runs(sides: Sequence[Side]) -> Iterator[Result]:
    """Yield the results of all sides."""
    for side in sides:
        yield from side.results


def _name(results: Sequence[Result]) -> str:
    releases = Counter(str(result.run["kernel"]["release"]) for result in results)
    return _short(" and ".join(releases))


def _telling(base: Sequence[Result], new: Sequence[Result]) -> tuple[str, str]:
    """Return what tells two sides apart: the release, or else words of the command line."""
    releases = [{str(r.run["kernel"]["release"]) for r in results} for results in (base, new)]
    if releases[0] != releases[1]:
        return _name(base), _name(new)
    words = [
        set.intersection(*(_words(result.run) for result in results)) for results in (base, new)
    ]
    return _short(" ".join(sorted(words[0] - words[1]))), _short(
        " ".join(sorted(words[1] - words[0]))
    )


def _words(run: dict[str, Any]) -> set[str]:
    return set(str(run["kernel"]["cmdline"] or "").split())


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

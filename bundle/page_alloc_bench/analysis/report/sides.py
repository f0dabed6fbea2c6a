# SPDX-License-Identifier: GPL-2.0-only
"""What a report is about: one side of runs, or two to be held against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result.case import Case

_LONGEST = 42  # of a label's detail; a command line may differ in much more than fits a legend

_CONTEXT = 10  # of what two long labels have alike, left before where they differ


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
        return [Side("base", _short(_names(base)), tuple(base))]
    details = _telling(base, new)
    return [
        Side(key, f"{key} ({detail})" if detail else key, tuple(results))
        for key, results, detail in zip(("base", "new"), (base, new), details)
    ]


def cases(sides: Sequence[Side]) -> list[Case]:
    """Return every case that any run measured, ascending."""
    return sorted({case for result in runs(sides) for case in result.cases})


def name_of(case: Case) -> str:
    """Return a case as a title begins with it, such as "Order 4"."""
    return str(case).capitalize()


def id_of(case: Case) -> str:
    """Return a case as part of the names of files and ids, such as "order4"."""
    return case.suffix().strip("_").replace("_", "-")


def runs(sides: Sequence[Side]) -> Iterator[Result]:
    """Yield the results of all sides."""
    for side in sides:
        yield from side.results


def _names(results: Sequence[Result]) -> str:
    """Return the kernels of a side: one, if all is well."""
    releases = Counter(str(result.run["kernel"]["release"]) for result in results)
    return " and ".join(releases)


def _telling(base: Sequence[Result], new: Sequence[Result]) -> tuple[str, str]:
    """Return what tells two sides apart: the release, or else words of the command line."""
    releases = [{str(r.run["kernel"]["release"]) for r in results} for results in (base, new)]
    if releases[0] != releases[1]:
        return _apart(_names(base), _names(new))
    words = [
        set.intersection(*(_words(result.run) for result in results)) for results in (base, new)
    ]
    return _apart(*(" ".join(sorted(mine - other)) for mine, other in (words, words[::-1])))


def _apart(base: str, new: str) -> tuple[str, str]:
    """Return both, shortened where they are alike if they are too long."""
    pairs = enumerate(zip(base, new))
    alike = next((place for place, (a, b) in pairs if a != b), 0) - _CONTEXT
    if max(len(base), len(new)) > _LONGEST and alike > 0:
        base, new = "…" + base[alike:], "…" + new[alike:]
    return _short(base), _short(new)


def _words(run: dict[str, Any]) -> set[str]:
    return set(str(run["kernel"]["cmdline"] or "").split())


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

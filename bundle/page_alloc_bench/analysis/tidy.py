# SPDX-License-Identifier: GPL-2.0-only
"""Results as tidy rows: one value per row, with what it is and whose it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from page_alloc_bench.runner.result import names
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.case import key as name_of

from .facts import CHIEF, Value, column, flatten, text
from .results import Measured, Result, ResultError

# The columns that every row has. sample counts from 1: the iteration, the place in run.cpus, the
# bucket of a histogram, or the latency's place in the sample. chosen: what the case has besides its
# order; empty for the default one.
COLUMNS = ("run_id", "file", "metric", "alloc_order", "sample", "value", "unit", "better", "chosen")
ALL_FACTS = "all"


@dataclass(frozen=True)
class Run:
    """A result and its name in other tools. id: the same for copies of one result."""

    id: str
    result: Result
    facts: dict[str, Value]

    @property
    def file(self) -> str:
        """Return the path as it was given, as text: bytes that are none are written as \\xff."""
        return os.fsencode(self.result.path).decode(errors="backslashreplace")


def select(given: Sequence[Run], patterns: Sequence[str]) -> list[Run]:
    """Return the runs with only those metrics that one of the patterns matches; all if none is.

    A pattern is a name, with * and ? if need be, with or without the order. Raises ResultError for
    one that matches nothing in any run.
    """
    if not patterns:
        return list(given)
    for pattern in patterns:
        if not any(_matches(key, [pattern]) for run in given for key in run.result.metrics):
            known = (name for run in given for name, _ in run.result.metrics)
            raise ResultError(
                pattern, f"no such metric in any result. {names.instead_of(pattern, known)}"
            )
    return [
        replace(run, result=replace(run.result, metrics=kept))
        for run in given
        for kept in [{k: m for k, m in run.result.metrics.items() if _matches(k, patterns)}]
    ]


def _matches(key: tuple[str, Case], patterns: Sequence[str]) -> bool:
    both = (key[0], name_of(*key))
    return any(fnmatchcase(text, pattern) for text in both for pattern in patterns)


def runs(results: Iterable[Result], note: Callable[[str], object]) -> list[Run]:
    """Return each run once; note is told of a file that is left out, being another's copy."""
    return list(each(results, note))


def each(results: Iterable[Result], note: Callable[[str], object]) -> Iterator[Run]:
    """Yield each run once, as runs() does, and keep hold of none."""
    files: dict[str, str] = {}
    for result in results:
        run = Run(result.identity[:12], result, flatten(result.run))
        if run.id in files:
            note(f"{run.file}: the same run as {files[run.id]}; left out")
        else:
            files[run.id] = run.file
            yield run


def fact_columns(given: Sequence[Run], asked: Sequence[str]) -> list[str]:
    """Return the names of the facts that rows are to carry; asked: by the user, "all" for all.

    Raises ResultError for a name that no run has.
    """
    known = dict.fromkeys(name for run in given for name in run.facts)
    if ALL_FACTS in asked:
        return list(known)
    for name in asked:
        if name not in known:
            near = names.closest(name, known)
            raise ResultError(
                name,
                f"no such fact in any result.{f' Did you mean {near}?' if near else ''} "
                "page-alloc-bench show --facts RESULT lists them",
            )
    return list(dict.fromkeys([*CHIEF, *asked]))


def header(facts: Sequence[str]) -> list[str]:
    """Return the names of the columns of rows()."""
    return [*COLUMNS, *map(column, facts)]


def rows(run: Run, facts: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each value of a run; facts are text."""
    about = tuple(text(run.facts.get(name)) for name in facts)
    for measured in run.result.metrics.values():
        before = (run.id, run.file, measured.name, measured.order)
        after = (measured.unit, better(measured), measured.case.choice, *about)
        for sample, value in enumerate(measured.values.tolist(), 1):
            yield (*before, sample, value, *after)


def better(measured: Measured) -> str:
    """Return the direction that is good in the words of the schema."""
    return measured.better or "neither"

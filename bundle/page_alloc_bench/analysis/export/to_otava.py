# SPDX-License-Identifier: GPL-2.0-only
"""A row for each boot, a column for each figure: CSV as Apache Otava reads it.

Otava takes the rows as they stand for a series, wants a number in each column that it is told to
look at, and knows neither machines nor boots (its docs/CSV.md, otava/importer.py). So these are in
the order of time, of one machine and configuration, and whole.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import TextIO

import numpy as np

from page_alloc_bench.analysis import facts, per_run, tidy
from page_alloc_bench.analysis.observed import start
from page_alloc_bench.analysis.results import Result, ResultError
from page_alloc_bench.analysis.trend.series import COMMIT, RELEASE, dated, machines
from page_alloc_bench.analysis.verdict import observations

TIME = "time"
# Facts that tell kernels apart, and what Otava calls them. It takes "branch" for something special.
ATTRIBUTES = {COMMIT: "commit", RELEASE: "release"}


def export(runs: Sequence[tidy.Run], stream: TextIO, note: Callable[[str], object]) -> None:
    """Write the runs; what is left out is told by note.

    A figure is the mean of the runs of a boot. Raises ResultError where runs are of several
    machines or configurations, none is complete, or none tells its time.
    """
    results = [run.result for run in runs if run.result.run["complete"]]
    if len(results) < len(runs):
        note(f"{len(runs) - len(results)} runs are not complete: left out")
    if not results:
        raise ResultError("export", "no run is complete: there is nothing for Otava")
    results = dated(results, note)
    if not results:
        raise ResultError("export", "no run tells when it began, and Otava's rows are by time")
    groups = machines(results)
    if len(groups) > 1:
        names = "; ".join(name for name, _ in groups)
        raise ResultError(
            "export", f"a series is of one machine and configuration, and these are of {names}: "
            "export each to a file of its own",
        )  # fmt: skip
    boots = _boots(groups[0][1])
    figures = [_figures(boot) for boot in boots]
    every = sorted({each for boot in figures for each in boot}, key=lambda each: each.place)
    columns = [each for each in every if all(each in boot for boot in figures)]
    for each in every:
        if each not in columns:
            note(f"{name_of(each)} is left out: not every boot has it")
    flat = [facts.flatten(boot[0].run) for boot in boots]
    known = {fact: name for fact, name in ATTRIBUTES.items() if all(fact in f for f in flat)}
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([TIME, *known.values(), *map(name_of, columns)])
    for boot, its, has in zip(boots, flat, figures, strict=True):
        named = [facts.text(its[fact]) for fact in known]
        writer.writerow([boot[0].started_at, *named, *(has[each] for each in columns)])


def name_of(figure: per_run.Statistic) -> str:
    """Return the name of a figure's column, as `ab` and `trend` call it."""
    return f"{figure.key}:{figure.statistic}"


def _boots(results: Sequence[Result]) -> list[list[Result]]:
    """Return the runs of each boot, both in the order of time."""
    found: dict[int, list[Result]] = {}
    numbers = observations.boots([start(result) for result in results]).of_run
    for number, result in zip(numbers, results, strict=True):
        found.setdefault(number, []).append(result)
    return list(found.values())


def _figures(boot: Sequence[Result]) -> dict[per_run.Statistic, float]:
    """Return the mean of each figure that all runs of a boot have."""
    taken = [per_run.statistics(result) for result in boot]
    return {
        each: float(np.mean([figures[each] for figures in taken]))
        for each in taken[0]
        if all(each in figures for figures in taken)
    }

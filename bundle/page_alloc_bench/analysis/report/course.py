# SPDX-License-Identifier: GPL-2.0-only
"""Latencies of each CPU, and of each slice of time, of the runs of a side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Metric, Rank, Timed

from . import spread

Floats = NDArray[np.float64]

FIGURES = ("median", "p99")


@dataclass(frozen=True)
class Band:
    """A figure at each place: the median of the runs, and where their middle 80 % ends; in ns.

    NaN where it is not known.
    """

    middle: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Course:
    """places: CPUs, or the middles of slices in s. figures: by their names, at those places."""

    places: Floats
    figures: dict[str, Band]


def operations() -> dict[str, list[Timed]]:
    """Return the operations of which this is told, by workload, but such as are rare."""
    found: dict[str, list[Timed]] = {}
    for timed in metrics.operations().values():
        if timed.figures and timed.sample.rank is not Rank.REST:
            found.setdefault(metrics.workload_of(timed.sample.name), []).append(timed)
    return found


def by_cpu(results: Sequence[Result], timed: Timed, case: Case) -> Course | None:
    """Return the figures of each CPU that a run used; None where no run tells them."""
    cpus = sorted({cpu for result in results for cpu in result.run.get("cpus", ())})

    def rows(figure: str) -> list[Floats]:
        found = []
        for result in results:
            values = _values(result, timed.figure("cpu", figure), case)
            if values.size:
                of_cpu = dict(zip(result.run.get("cpus", ()), values))
                found.append(np.array([of_cpu.get(cpu, np.nan) for cpu in cpus]))
        return found

    return _course(np.array(cpus, float), rows)


def over_time(results: Sequence[Result], timed: Timed, case: Case) -> Course | None:
    """Return the figures of the slices that all runs have, in the order of time; None as above."""
    lengths = [result.values(timed.figure("slice", "").name, case) for result in results]
    known = [each for each in lengths if each.size]
    if not known:
        return None
    most = min(each.size for each in known)
    each = np.median([length[:most] for length in known], axis=0) / 1e9

    def rows(figure: str) -> list[Floats]:
        found = (_values(result, timed.figure("slice", figure), case) for result in results)
        return [values[:most] for values in found if values.size]

    return _course(np.cumsum(each) - each / 2, rows)


def _values(result: Result, metric: Metric, case: Case) -> Floats:
    values = result.values(metric.name, case).astype(float)
    return np.where(values == 0, np.nan, values)


def _course(places: Floats, rows: Callable[[str], Sequence[Floats]]) -> Course | None:
    """Return the figures at some places. rows: returns those of each run, by their name."""
    found = {}
    for name in FIGURES:
        values = rows(name)
        if values and not np.isnan(values).all():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # where no run has a value
                middle = np.nanmedian(values, axis=0)
            found[name] = Band(middle, *spread.ends(values))
    return Course(places, found) if "median" in found else None

# SPDX-License-Identifier: GPL-2.0-only
"""The figures of each run, as compare has them, gathered over the runs of a side."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from page_alloc_bench.analysis import per_run
from page_alloc_bench.analysis.per_run import Below, Rank, Statistic
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result import units
from page_alloc_bench.runner.result.case import Case

from . import axes as ax
from .sides import Side

LATENCY = per_run.FIGURES  # of a latency


@functools.cache
def gathered(side: Side) -> dict[Statistic, list[float]]:
    """Return each statistic's values, one per run that has it; see per_run.statistics()."""
    found: dict[Statistic, list[float]] = {}
    for result in side.results:
        for statistic, value in per_run.statistics(result).items():
            found.setdefault(statistic, []).append(value)
    return found


def middle(side: Side, metric: str, statistic: str, case: Case) -> float | None:
    """Return the median over runs of a statistic; None if it was not measured."""
    for key, values in gathered(side).items():
        if (key.metric, key.statistic, key.case) == (metric, statistic, case):
            return _median(values)
    return None


def _median(values: Sequence[float]) -> float:
    """Return the median; Below where of one value at least is known only that it is less."""
    middle = float(np.median(values))
    return Below(middle) if any(isinstance(value, Below) for value in values) else middle


def shown(side: Side) -> dict[Statistic, list[float]]:
    """Return those statistics that a table for people has, in its order."""
    kept = [item for item in gathered(side).items() if item[0].rank < Rank.REST]
    return dict(sorted(kept, key=lambda item: (item[0].case, item[0].rank)))


def write(value: float, unit: str) -> str:
    """Return a value of a metric as people write it."""
    if isinstance(value, Below):
        return f"<{write(float(value), unit)}"
    if unit == "ppm" and value >= 1000:
        return f"{value / 1e4:.3g}{ax.SPACE}%"
    if units.of(unit) in (units.TIME, units.BYTES, units.PER_SECOND):
        return ax.quantity(value, unit)
    return f"{ax.count(value)}{ax.SPACE}{unit}".strip()


def span(values: Sequence[float], unit: str) -> str:
    """Return the median of runs, with their range if there are several."""
    text = write(_median(values), unit)
    if len(values) < 2:
        return text
    return f"{text} ({write(min(values), unit)} to {write(max(values), unit)})"


def cpus(result: Result) -> int:
    """Return how many CPUs a run used."""
    return len(result.run.get("cpus", []))

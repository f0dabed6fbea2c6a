# SPDX-License-Identifier: GPL-2.0-only
"""The figures of each run, as compare has them, gathered over the runs of a side."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.analysis import per_run
from page_alloc_bench.analysis.per_run import Rank, Statistic
from page_alloc_bench.analysis.results import Result

from . import axes as ax
from .sides import Side

Floats = NDArray[np.float64]


@functools.cache
def gathered(side: Side) -> dict[Statistic, Floats]:
    """Return each statistic's values, an item a run that has it."""
    found: dict[Statistic, list[float]] = {}
    for result in side.results:
        for statistic, value in per_run.statistics(result).items():
            found.setdefault(statistic, []).append(value)
    return {statistic: np.array(values) for statistic, values in found.items()}


def middle(side: Side, metric: str, statistic: str, order: int) -> float | None:
    """Return the median over runs of a statistic; None if it was not measured."""
    for key, values in gathered(side).items():
        if (key.metric, key.statistic, key.order) == (metric, statistic, order):
            return float(np.median(values))
    return None


def shown(side: Side) -> dict[Statistic, Floats]:
    """Return those statistics that a table for people has, in its order."""
    kept = [item for item in gathered(side).items() if item[0].rank < Rank.REST]
    return dict(sorted(kept, key=lambda item: (item[0].order, item[0].rank)))


def write(value: float, unit: str) -> str:
    """Return a value of a metric as people write it."""
    if unit == "ns":
        return ax.time(value)
    if unit == "bytes":
        return ax.size(value)
    if unit == "ppm" and value >= 1000:
        return f"{value / 1e4:.3g}{ax.SPACE}%"
    if unit.endswith("/s"):
        return f"{ax.count(value)}/s"
    return f"{ax.count(value)}{ax.SPACE}{unit}".strip()


def span(values: Floats, unit: str) -> str:
    """Return the median of runs, with their range if there are several."""
    text = write(float(np.median(values)), unit)
    if len(values) < 2:
        return text
    return f"{text} ({write(float(values.min()), unit)} to {write(float(values.max()), unit)})"


def cpus(result: Result) -> int:
    """Return how many CPUs a run used."""
    return len(result.run.get("cpus", []))

# SPDX-License-Identifier: GPL-2.0-only
"""The figures that one run gives: each is one observation when runs are compared.

What is compared, and how much it weighs, is as the metrics are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.runner.result import figures
from page_alloc_bench.runner.result.case import Case, key
from page_alloc_bench.runner.result.metrics import (
    Better,
    Kind,
    Metric,
    Rank,
    declared,
    every,
    families,
    operation_of,
    position,
    workload_of,
)
from page_alloc_bench.runner.result.quantile import InOrder

from .results import Result

__all__ = ["Below", "Better", "Rank", "Statistic", "statistics", "subjects"]

# Fewer timed operations than this beyond a percentile, and it says little but their number.
_LEAST_BEYOND = 5
# The figures of a latency. Of more operations the largest is larger: the side that is faster would
# look worse, so that it is not tested.
FIGURES = ("median", "p99", "p99.9", "max")


@dataclass(frozen=True)
class Statistic:
    """What is compared. metric: its name in the result; statistic: median, p99, p99.9, max, …"""

    family: str = field(hash=False)
    metric: str
    statistic: str
    case: Case
    unit: str = field(hash=False)
    better: Better = field(hash=False)
    rank: Rank = field(hash=False)

    @property
    def order(self) -> int:
        """Return the order of the blocks."""
        return self.case.order

    @property
    def key(self) -> str:
        """Return the metric's name in the result, with the case."""
        return key(self.metric, self.case)

    @property
    def place(self) -> tuple[object, ...]:
        """Return where it stands in tables: by workload, case, family, metric, then figure."""
        kind = FIGURES.index(self.statistic) if self.statistic in FIGURES else 0
        return (
            workload_of(self.metric),
            self.case,
            families().index(self.family),
            position(self.metric),
            kind,
        )


class Below(float):
    """A latency of which is known only that it is less than this: the step of the clock."""


def statistics(result: Result) -> dict[Statistic, float]:
    """Return the figures of a run that have a good direction; what was not measured is absent.

    A latency that the clock was too coarse for is Below. Of a run in a store they are as it keeps
    them: its samples may be gone.
    """
    if result.kept is not None:
        return dict(result.kept)
    found: dict[Statistic, float] = {}
    for name, case in subjects(result):
        found.update(_statistics(result, declared(name), case))
    return found


def subjects(result: Result) -> list[tuple[str, Case]]:
    """Return the metrics that give figures, with the cases.

    For anything that is known of a timed operation, its sample stands for it.
    """
    found: dict[tuple[str, Case], None] = {}
    for name, case in result.metrics:
        timed = operation_of(name)
        found[name if timed is None else timed.sample.name, case] = None
    return list(found)


def names() -> list[str]:
    """Return the metrics that may give figures of which one direction is better."""
    return [
        metric.name
        for metric in every().values()
        if metric.better is not None
        and ((timed := operation_of(metric.name)) is None or timed.sample is metric)
    ]


def _statistics(result: Result, metric: Metric, case: Case) -> Iterator[tuple[Statistic, float]]:
    if not metric.compared:
        return
    values = result.values(metric.name, case)
    if metric.kind is Kind.SAMPLE:
        yield from _latencies(result, metric, case)
    elif metric.kind is Kind.SHARE:
        share = _share(result, metric, case)
        if share is not None:
            yield statistic_of(metric, "share", case), share
    elif values.size:
        kind = "value" if metric.kind is Kind.RATE else "median"
        yield statistic_of(metric, kind, case), float(np.median(values))


def statistic_of(metric: Metric, statistic: str, case: Case) -> Statistic:
    """Return what is compared of a metric, which must be one that is compared."""
    assert metric.rank is not None and metric.better is not None, "as compared says"  # noqa: PT018
    unit = "ppm" if statistic == "share" else metric.unit
    rank = Rank.SHOWN if statistic == "max" else Rank.PRIMARY  # the most that it may weigh
    return Statistic(
        metric.family, metric.name, statistic, case, unit, metric.better, max(metric.rank, rank)
    )


def _share(result: Result, metric: Metric, case: Case) -> float | None:
    """Return a count as so many of a million attempts; None where there was no attempt."""
    count = result.values(metric.name, case)
    whole = sum(int(result.values(of, case).sum()) for of in metric.of)
    return 1e6 * int(count.sum()) / whole if count.size and whole else None


def _latencies(result: Result, metric: Metric, case: Case) -> Iterator[tuple[Statistic, float]]:
    known = figures.of(_ordered(result), result.run, metric.name, case)
    for name in FIGURES:
        figure = known.get(name, beyond=_LEAST_BEYOND)
        if figure is None or (name == "max" and known.distribution.known_largest is None):
            continue
        value = figure.value if figure.known else _bound(figure)
        if value is not None:
            yield statistic_of(metric, name, case), value


def _ordered(result: Result) -> Callable[[str, Case | int], Sequence[int]]:
    """Return what gives a metric's values, a sample in order: numpy sorts it ten times as fast."""

    def counts(name: str, case: Case | int) -> Sequence[int]:
        if declared(name).kind is not Kind.SAMPLE:
            return result.counts(name, case)
        return InOrder("q", _sorted(result.values(name, case)).tobytes())

    return counts


def _sorted(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values in order; such as fit into half the bits take half the time."""
    if values.size and values.max() <= np.iinfo(np.int32).max:
        return np.sort(values.astype(np.int32)).astype(np.int64)
    return np.sort(values)


def _bound(figure: figures.Figure) -> Below | None:
    """Return what a hidden latency is known to be less than; None if nothing is known of it."""
    return None if figure.bound is None else Below(figure.bound)

# SPDX-License-Identifier: GPL-2.0-only
"""How a rate grows with the number of CPUs, of results that measured several numbers of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Kind, Metric, every

from .results import Result

AXIS = "cpus"
# The knee is the last number of CPUs of which each does at least this part of what each of the
# fewest does.
KEPT = 0.8


@dataclass(frozen=True)
class Curve:
    """A rate by the number of CPUs, on one host.

    host: its identity, "" where results do not tell it. case: without that number. points: CPUs,
    and a rate a run.
    """

    rate: Metric
    host: str
    case: Case
    points: dict[int, list[float]]

    @property
    def middles(self) -> list[tuple[int, float]]:
        """Return CPUs and the median of the runs' rates, the fewest first."""
        return [(cpus, float(np.median(values))) for cpus, values in sorted(self.points.items())]

    @property
    def knee(self) -> int | None:
        """Return the last number of CPUs up to which each keeps KEPT of its rate.

        None where each does so at the most CPUs that were measured.
        """
        (fewest, first), *more = self.middles
        reached = fewest
        for cpus, rate in more:
            if rate / cpus < KEPT * first / fewest:
                return reached
            reached = cpus
        return None

    @property
    def efficiency(self) -> float:
        """Return what part of its rate at the fewest CPUs each CPU keeps at the most."""
        (fewest, first), *_, (most, last) = self.middles
        return last / most / (first / fewest)


def curves(results: Sequence[Result]) -> list[Curve]:
    """Return the curve of each rate that was measured on several numbers of CPUs, of each host.

    Of two hosts that differ, the points of both together would be the curve of neither.
    """
    hosts = dict.fromkeys(_host(result) for result in results)
    return [
        curve
        for host in hosts
        for curve in _curves(host, [result for result in results if _host(result) == host])
    ]


def _host(result: Result) -> str:
    return str(result.run.get("host_id") or "")


def _curves(host: str, results: Sequence[Result]) -> Iterator[Curve]:
    for rate in (metric for metric in every().values() if metric.kind is Kind.RATE):
        cases = {case for result in results for name, case in result.metrics if name == rate.name}
        for case in sorted({_without(case) for case in cases}):
            points = _points(results, rate, [c for c in cases if _without(c) == case])
            if len(points) > 1:
                yield Curve(rate, host, case, points)


def _points(
    results: Sequence[Result], rate: Metric, cases: Iterable[Case]
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for case in cases:
        for result in results:
            values = result.values(rate.name, case)
            cpus = int(dict(case.chosen).get(AXIS, len(result.run.get("cpus", ()))))
            if values.size and cpus:
                found.setdefault(cpus, []).append(float(np.median(values)))
    return found


def _without(case: Case) -> Case:
    """Return the case of all CPUs."""
    return Case(case.order, tuple(pair for pair in case.chosen if pair[0] != AXIS))

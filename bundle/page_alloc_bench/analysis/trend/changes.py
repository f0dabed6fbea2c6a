# SPDX-License-Identifier: GPL-2.0-only
"""Where a series changes, and whether the boots on both sides confirm it.

Candidates are found by PELT (Killick, Fearnhead, Eckley, JASA 107, 2012) in the least squares of
the points. Each has to be confirmed by the U test of all boots on its two sides. The boots of a
kernel share how its code lies, so the t test of the kernels has to confirm it too, by the variance
of the kernels within all segments, where the series has enough of them to tell it. Where a
candidate is was chosen, so p is multiplied by the number of places, or, of several candidates, by
that of all ways to choose two neighbouring segments; and it is corrected by Holm for all series,
those without a candidate too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import ruptures
from scipy import stats

from page_alloc_bench.analysis import facts, facts_difference
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.analysis.verdict import interval
from page_alloc_bench.analysis.verdict.interval import Array, Sample

from .series import Point, Series

_KERNELS = 4  # more than there are segments, from which on they are tested too
_PENALTY = 3.0  # times log n and the variance of a point
# The variance of a median of normal values, times how many they are.
_OF_MEDIAN = math.pi / 2
# From the median of absolute differences of neighbours to their standard deviation.
_OF_DIFFERENCES = 0.6744897501960817 * math.sqrt(2)
# Facts that are another cause for a change than the kernel's source.
_RIVALS = {
    "configuration": "kernel.config.sha256",
    "processor": "machine.cpu_model",
    "version of this program": "tool_version",
}


@dataclass(frozen=True)
class Change:
    """A change of a series.

    at: the place of the first point after it. before, after: medians of the boots on its two sides.
    low, high: what the change is at least and at most, in percent, at 95 %; None: too few boots.
    p: of the U test; p_corrected: for all places and series. worse: whether it is for the worse.
    rivals: what else changed there, and may be the cause.
    """

    at: int
    point: str
    before: float
    after: float
    low: float | None
    high: float | None
    p: float
    p_corrected: float
    worse: bool
    rivals: Sequence[str]

    @property
    def percent(self) -> float:
        """Return the change in percent."""
        return 100 * (self.after / self.before - 1)


@dataclass(frozen=True)
class Trend:
    """A series with what changed in it. segments: the places where one begins, and the end."""

    series: Series
    segments: Sequence[int]
    changes: Sequence[Change] = field(default=())

    @property
    def newest_is_worse(self) -> bool:
        """Return whether the newest kernel is of a segment that is confirmed to be worse."""
        return bool(self.changes) and self.changes[-1].worse


def trends(every: Sequence[Series], alpha: float = 0.05) -> list[Trend]:
    """Return each series with its confirmed changes. alpha: of any false one among all series."""
    found = [(series, candidates(series)) for series in every]
    tests = [
        (at, place, _p(series, places, place))
        for at, (series, places) in enumerate(found)
        for place in range(1, len(places) - 1)
    ]
    chosen = [min(1.0, p * _ways(len(every[at].points), len(found[at][1]))) for at, _, p in tests]
    silent = [1.0 for _, places in found if len(places) == 2]
    corrected = interval.holm([*chosen, *silent])[: len(tests)]
    confirmed: dict[int, list[tuple[int, float, float]]] = {}
    for (at, place, p), p_corrected in zip(tests, corrected, strict=True):
        if p_corrected <= alpha:
            confirmed.setdefault(at, []).append((place, p, p_corrected))
    return [
        _trend(series, places, confirmed.get(at, [])) for at, (series, places) in enumerate(found)
    ]


def _p(series: Series, places: Sequence[int], place: int) -> float:
    """Return the p of a candidate: of the boots, and of the kernels where these are enough."""
    boots = interval.u_test(*_sides(series, places, place))
    segments = [
        np.array([point.value for point in series.points[begin:end]])
        for begin, end in pairwise(places)
    ]
    freedom = len(series.points) - len(segments)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in segments)
    if freedom < _KERNELS or squares == 0:
        return boots
    before, after = segments[place - 1 : place + 1]
    error = math.sqrt(squares / freedom * (1 / before.size + 1 / after.size))
    t = abs(float(after.mean() - before.mean())) / error
    return max(boots, 2 * float(stats.t.sf(t, freedom)))


def _ways(points: int, places: int) -> int:
    """Return among how many ways the sides of a candidate were chosen. places: with both ends."""
    return points - 1 if places == 3 else math.comb(points + 1, 3)


def candidates(series: Series) -> list[int]:
    """Return where segments begin, from 0, and the number of points."""
    values = np.array([point.value for point in series.points])
    variance = noise(series.points)
    if values.size < 2 or variance == 0:
        return _steps(values)
    # With this kernel its costs are the squares around the means; its search is compiled.
    search = ruptures.KernelCPD(kernel="linear", min_size=1, jump=1)
    search.fit((values - values.mean()).reshape(-1, 1))
    penalty = _PENALTY * math.log(values.size) * variance
    return [0, *map(int, search.predict(pen=penalty))]


def noise(points: Sequence[Point]) -> float:
    """Return the variance of a point where nothing changes.

    It is the larger of what the boots within the points tell, and of what the differences of
    neighbours do: kernels may differ by more than boots, for code that lies elsewhere.
    """
    values = np.array([point.value for point in points])
    neighbours = (float(np.median(np.abs(np.diff(values)))) / _OF_DIFFERENCES) ** 2
    logs = [np.log(point.boots) for point in points if point.boots.size > 1]
    if not logs:
        return neighbours
    pooled = sum(float(np.var(log, ddof=1)) * (log.size - 1) for log in logs)
    boots = float(np.median([point.boots.size for point in points]))
    within = pooled / sum(log.size - 1 for log in logs)
    return max(neighbours, within * (_OF_MEDIAN if boots > 2 else 1) / boots)


def _steps(values: Array) -> list[int]:
    """Return where values that do not vary at all change: each step is one."""
    steps = [int(place) + 1 for place in np.flatnonzero(np.diff(values))]
    return [0, *steps, values.size]


def _sides(series: Series, places: Sequence[int], place: int) -> tuple[Sample, Sample]:
    """Return the boots of the segments before and after one that begins at a place."""
    points = series.points
    before = [p.boots for p in points[places[place - 1] : places[place]]]
    after = [p.boots for p in points[places[place] : places[place + 1]]]
    return Sample.of(np.concatenate(before)), Sample.of(np.concatenate(after))


def _trend(
    series: Series, places: Sequence[int], confirmed: Sequence[tuple[int, float, float]]
) -> Trend:
    segments = [0, *(places[place] for place, _, _ in confirmed), len(series.points)]
    changes = [_change(series, places, *each) for each in confirmed]
    return Trend(series, segments, changes)


def _change(
    series: Series, places: Sequence[int], place: int, p: float, p_corrected: float
) -> Change:
    """Return a change between the sides that were tested."""
    before, after = _sides(series, places, place)
    shift = interval.shift(before, after, 0.05)
    low, high = (100 * math.expm1(float(bound)) for bound in (shift.low, shift.high))
    medians = [float(np.exp(np.median(side.high))) for side in (before, after)]
    first = places[place]
    points = series.points
    better = 1 if series.statistic.better == "higher" else -1
    return Change(
        at=first,
        point=points[first].name,
        before=medians[0],
        after=medians[1],
        low=low if math.isfinite(low) and low > -100 else None,
        high=high if math.isfinite(high) else None,
        p=p,
        p_corrected=p_corrected,
        worse=better * (medians[1] - medians[0]) < 0,
        rivals=rivals(points[first - 1].run, points[first].run),
    )


def rivals(before: Result, after: Result) -> list[str]:
    """Return what differs between two runs besides the kernel's release, version and build."""
    told = [facts.flatten(result.run) for result in (before, after)]
    found = [name for name, fact in _RIVALS.items() if told[0].get(fact) != told[1].get(fact)]
    if _compiler(before) != _compiler(after):
        found.insert(0, "compiler")
    differences = facts_difference.differences([before], [after])
    skipped = ("kernel.", "incomplete", "warnings", "tool", "bundle")
    return [*found, *(d.name for d in differences if not d.name.startswith(skipped))]


def _compiler(result: Result) -> str | None:
    """Return what the module was compiled with, which is what the kernel was, or build warned."""
    release = result.run["kernel"]["release"]
    modules = (result.run.get("bundle") or {}).get("modules") or []
    return next((m.get("compiler") for m in modules if m.get("release") == release), None)

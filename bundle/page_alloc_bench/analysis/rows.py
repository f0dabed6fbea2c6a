# SPDX-License-Identifier: GPL-2.0-only
"""The rows of a comparison: of each statistic the change, its interval, and what that shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import numpy as np

from page_alloc_bench.runner.result.metrics import families

from . import statistics
from .comparison import Geomean, Row, Side, Verdict
from .observed import Observed
from .per_run import Statistic
from .thresholds import Thresholds, kind_of
from .verdict import (
    failures,
    interval,
    observations,
    of_counts,
    order,
    power,
    sequential,
    signed_rank,
    states,
)
from .verdict.interval import Array, Sample, Shift
from .verdict.sequential import Look

_PPM = 1e6


@dataclass(frozen=True)
class Settings:
    """What holds for all rows.

    alpha: the chance of an error that is put up with in all that decides together. tests: how many
    rows share it; tests_apart: how many of the others share as much. confounded: nothing can be
    told, because of the order of the boots. counted: the figures have no noise: nothing is tested.
    look: the last one, where boots are added until it can be told; None if there is one only.
    paired: each value is of a host that measured both sides.
    """

    thresholds: Thresholds
    alpha: float
    tests: int
    tests_apart: int
    confounded: bool
    counted: bool = False
    look: Look | None = None
    paired: bool = False

    def together(self, tests: int = 1) -> float:
        """Return the alpha of each of so many intervals that hold together, at all looks."""
        alpha = self.alpha / tests
        return self.look.both(alpha) if self.look else alpha

    def alone(self) -> float:
        """Return the alpha of an interval, each of whose ends holds alone, at all looks."""
        return 2 * (self.look.level(self.alpha) if self.look else self.alpha)

    def test(self, base: Sample, new: Sample) -> float:
        """Return the two-sided p that nothing has changed."""
        return (signed_rank.test if self.paired else interval.u_test)(base, new)

    def overall(self, p: float) -> float:
        """Return the p of all looks for that of the last."""
        return self.look.overall(p) if self.look else p


@dataclass(frozen=True)
class _Figures:
    """Both sides of a statistic, a value a boot: what it is at least and at most.

    tested: the logarithms of what is tested: less their trend, where there can be one.
    """

    lows: tuple[Array, Array]
    highs: tuple[Array, Array]
    tested: tuple[Sample, Sample]

    @classmethod
    def of(cls, observed: Observed, statistic: Statistic, settings: Settings) -> _Figures:
        base, new = observed.values(statistic, 0), observed.values(statistic, 1)
        tested = observations.sample(*base[:2]), observations.sample(*new[:2])
        failed = kind_of(statistic) == "failures"
        if not (settings.paired or settings.counted or failed):
            tested = order.without_trend(*tested, observed.when((base[2], new[2])))
        return cls((base[0], new[0]), (base[1], new[1]), tested)

    @property
    def below(self) -> tuple[bool, bool]:
        base, new = (
            not np.array_equal(low, high) for low, high in zip(self.lows, self.highs, strict=True)
        )
        return base, new


def rows(
    observed: Observed,
    wanted: Sequence[Statistic],
    deciding: Set[Statistic],
    apart: Set[Statistic],
    settings: Settings,
) -> list[Row]:
    """Return a row for each wanted statistic, those that decide with the others of their case."""
    corrected: dict[Statistic, float] = {}
    p: dict[Statistic, float] = {}
    for group in () if settings.counted else (deciding, apart):
        members = [s for s in wanted if s in group]
        found = [
            settings.overall(settings.test(*_Figures.of(observed, s, settings).tested))
            for s in members
        ]
        p.update(zip(members, found, strict=True))
        corrected.update(zip(members, interval.holm(found), strict=True))
    made = []
    for statistic in wanted:
        tests = settings.tests if statistic in deciding else settings.tests_apart
        tested = statistic in p or (settings.counted and statistic in deciding)
        alpha = settings.together(tests if tested else 1)
        figures = _Figures.of(observed, statistic, settings)
        made.append(
            _row(figures, statistic, settings, alpha, tested=tested, decides=statistic in deciding,
                 p=(p.get(statistic), corrected.get(statistic)))
        )  # fmt: skip
    return made


def _row(
    figures: _Figures,
    statistic: Statistic,
    settings: Settings,
    alpha: float,
    *,
    tested: bool,
    decides: bool,
    p: tuple[float | None, float | None],
) -> Row:
    kind = kind_of(statistic)
    threshold = settings.thresholds.of(statistic) / 100
    if kind == "failures":
        parts = [high / _PPM for high in figures.highs]
        shift = signed_rank.shift if settings.paired else interval.shift
        change = shift(Sample(parts[0], parts[0]), Sample(parts[1], parts[1]), alpha)
        percents = [_finite(100 * float(v)) for v in (change.estimate, change.low, change.high)]
        found = failures.judge(parts[0], parts[1], alpha, threshold)
        if settings.look and found == "unknown":
            found = _alone(failures.judge(parts[0], parts[1], settings.alone(), threshold))
    else:
        change, found = _judged(figures.tested, statistic, settings, (alpha, threshold))
        percents = [_percent(v) for v in (change.estimate, change.low, change.high)]
        if not np.isfinite(change.low):
            percents[1] = None
    return Row(
        family=statistic.family,
        metric=statistic.metric,
        statistic=statistic.statistic,
        order=statistic.order,
        chosen=statistic.case.chosen,
        unit=statistic.unit,
        better=statistic.better,
        kind=kind,
        threshold_percent=100 * threshold,
        base=_side(figures, 0, settings),
        new=_side(figures, 1, settings),
        change_percent=percents[0],
        change_low=percents[1],
        change_high=percents[2],
        p=p[0],
        p_corrected=p[1],
        verdict=_verdict(found, change, settings, tested=tested),
        decides=decides,
        needed=_needed(figures.tested, statistic, threshold, settings, alpha)
        if decides and not any(figures.below) and not settings.counted
        else None,
    )


def _shift(samples: tuple[Sample, Sample], settings: Settings, alpha: float) -> Shift:
    """Return the change; what was counted is not estimated."""
    if settings.counted:
        return of_counts.shift(*samples)
    if settings.paired:
        return signed_rank.shift(*samples, alpha)
    return interval.shift(*samples, alpha)


def _alone(found: states.State) -> states.State:
    """Return what an interval that holds alone shows: that it is not worse, or nothing."""
    return found if found in ("same", "no worse") else "unknown"


def _judged(
    sides: tuple[Sample, Sample],
    statistic: Statistic,
    settings: Settings,
    limits: tuple[float, float],
) -> tuple[Shift, states.State]:
    """Return the interval of a change and what it shows. limits: its alpha, and the threshold."""
    alpha, threshold = limits
    if settings.look:
        judged = sequential.judge(sides, (threshold, statistic.better), (alpha, settings.alone()))
        return judged.change, cast("states.State", str(judged.state))
    change = _shift(sides, settings, alpha)
    harm = states.Harm.of(change.low, change.high, threshold, statistic.better)
    return change, cast("states.State", str(states.states(harm)))


def _verdict(found: states.State, change: Shift, settings: Settings, *, tested: bool) -> Verdict:
    if not tested:
        return "not tested"
    if settings.confounded and not settings.counted:
        return "unknown"
    ends = np.isfinite([float(change.low), float(change.high)])
    # At a look, one end holds alone, and may be there where those that hold together are not.
    if found == "unknown" and not (ends.all() if settings.look else ends.any()):
        return "too few boots" if np.isfinite(change.estimate) else "unknown"
    return found


def _needed(
    sides: tuple[Sample, Sample],
    statistic: Statistic,
    threshold: float,
    settings: Settings,
    alpha: float,
) -> power.Needed | None:
    """Return the boots for a decision on the threshold, or None where no spread tells them."""
    if kind_of(statistic) == "failures":
        return None
    worse = math.log1p(threshold)
    if statistic.better == "higher" and threshold < 1:
        worse = -math.log1p(-threshold)
    if settings.look:
        alpha = 2 * settings.alpha
    needed = signed_rank.needed if settings.paired else power.needed
    return needed(sides[0].high, sides[1].high, worse, alpha)


def _percent(log: Array) -> float | None:
    """Return a ratio as a change in percent; None for one that is not known or has no bound."""
    value = float(log)
    return None if not value < math.inf else _finite(100 * math.expm1(value))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _side(figures: _Figures, side: int, settings: Settings) -> Side:
    values, below = figures.highs[side], figures.below[side]
    low, high = None, None
    if settings.counted:
        low, high = min(values), max(values)
    elif not below:
        low, high = statistics.median_interval(values, 1 - settings.alpha) or (None, None)
    tested = np.exp(figures.tested[side].high)
    median = float(np.median(values))
    return Side(tuple(map(float, values)), tuple(map(float, tested)), median, low, high, below)


def geomeans(
    observed: Observed, made: Sequence[Row], wanted: Sequence[Statistic], settings: Settings
) -> Iterator[Geomean]:
    """Yield the mean change of each family of tested rows that has more than one.

    Of each boot the mean of the logarithms is taken, of boots that have all of them. Its interval
    is that of one test.
    """
    tested = [
        statistic
        for row, statistic in zip(made, wanted, strict=True)
        if row.verdict != "not tested" and row.kind != "failures"
    ]
    tested.sort(key=lambda s: families().index(s.family))
    for family, group in groupby(tested, key=lambda s: s.family):
        members = [_Figures.of(observed, statistic, settings) for statistic in group]
        sizes = {tuple(high.size for high in each.highs) for each in members}
        logs = [each.tested for each in members]
        whole = {(observed.boots[0].number, observed.boots[1].number)}
        uneven = sizes != whole if settings.paired else len(sizes) > 1
        if len(members) < 2 or uneven or any(any(each.below) for each in members):
            continue
        base, new = (np.mean([pair[side].high for pair in logs], axis=0) for side in (0, 1))
        if not np.all(np.isfinite(np.concatenate([base, new]))):
            continue
        samples = Sample(base, base), Sample(new, new)
        change = _shift(samples, settings, settings.together())
        middle = _percent(change.estimate)
        if middle is not None:
            yield Geomean(family, len(members), middle, _percent(change.low), _percent(change.high))

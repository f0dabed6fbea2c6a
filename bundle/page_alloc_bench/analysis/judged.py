# SPDX-License-Identifier: GPL-2.0-only
"""What a patch is judged by: of each thing that it may harm, the worst and the best figure.

Which figures tell of what follows from how their metrics are declared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from page_alloc_bench.runner.result import metrics, units
from page_alloc_bench.runner.result.metrics import Better, Kind

from . import format_words, notation, scaling
from .comparison import Comparison, Row, describe
from .observed import start
from .results import Result
from .verdict import interval, observations
from .verdict.interval import Sample

_SHOWN = "not tested"
_SPEEDS = ("rate", "median", "instructions")
# What a family of figures about fragmentation is called begins with this.
_FRAGMENTATION = "fragmentation"


@dataclass(frozen=True)
class Figure:
    """A figure of a comparison. name: with its case. change: with its interval, in words.

    harm: the logarithm by which it became worse, and its least and its most. verdict: what the
    interval shows; of what decides nothing, with that.
    """

    name: str
    change: str
    harm: tuple[float, float, float]
    verdict: str

    @property
    def mark(self) -> str:
        """Return the verdict where it is one on the whole: a class of the style sheet."""
        return self.verdict if self.verdict in ("worse", "better") else ""

    @property
    def shown_worse(self) -> float:
        """Return by how much it became worse at least; 0 if that is not shown."""
        return max(self.harm[1], 0.0)

    @property
    def shown_better(self) -> float:
        """Return by how much it became better at least; 0 if that is not shown."""
        return max(-self.harm[2], 0.0)


@dataclass(frozen=True)
class Judged:
    """A thing that a patch may harm. found: how its figures came out, in words.

    worst, best: None if there is none; the best too if there is one only.
    """

    name: str
    found: str
    worst: Figure | None = None
    best: Figure | None = None


def judged(made: Comparison, base: Sequence[Result], new: Sequence[Result]) -> list[Judged]:
    """Return each thing that a patch may harm; what was not measured on both sides is said so."""
    rows: dict[str, list[Row]] = {}
    for row in made.rows:
        name = next((name for name, is_of in _ASPECTS.items() if is_of(row)), "")
        rows.setdefault(name, []).append(row)
    found = {name: [_figure(r) for r in rows.get(name, ()) if _known(r)] for name in _ASPECTS}
    found[_SCALING] = list(_curves(base, new, 1 - made.confidence))
    lost = _lost(base, new)
    return [
        _judged(name, found[name], [r.verdict for r in rows.get(name, ())], lost if said else "")
        for name, said in _ORDER.items()
    ]


def _judged(name: str, figures: Sequence[Figure], verdicts: Sequence[str], said: str) -> Judged:
    if not figures:
        return Judged(name, "; ".join(filter(None, ["not measured on both sides", said])))
    states = [verdict for verdict in verdicts if verdict != _SHOWN]
    rest = len(figures) - len(states)
    words = [format_words.verdicts(states), f"{rest} shown only" if rest > 0 else ""]
    worst = max(figures, key=lambda f: (f.shown_worse, f.harm[0]))
    best = max(figures, key=lambda f: (f.shown_better, -f.harm[0]))
    number = f"{len(figures)} figure{'s' * (len(figures) != 1)}: {', '.join(filter(None, words))}"
    return Judged(
        name, "; ".join(filter(None, [number, said])), worst, None if best is worst else best
    )


def _speed(row: Row) -> bool:
    of_time = units.of(metrics.declared(row.metric).unit) is units.TIME
    return row.kind in _SPEEDS or (row.kind == "other" and of_time)


# The first that holds is what a row is about. A row of none, like the share of remote allocations,
# is in the tables only.
_SCALING, _LOST = "Scaling by CPUs", "Lost memory"
_ASPECTS: Mapping[str, Callable[[Row], bool]] = {
    "Fragmentation": lambda row: row.family.startswith(_FRAGMENTATION),
    "Speed": _speed,
    "Tails, by path": lambda row: row.kind == "tail",
    _LOST: lambda row: row.kind == "memory",
    "Failed allocations": lambda row: row.kind == "failures",
}
# Whether it is said there, too, that every block came back.
_ORDER: Mapping[str, bool] = {
    "Speed": False,
    "Tails, by path": False,
    _SCALING: False,
    "Fragmentation": False,
    _LOST: True,
    "Failed allocations": False,
}


def _known(row: Row) -> bool:
    """Return whether the row says which side is better: the largest of more is larger."""
    return row.change_percent is not None and row.statistic != "max"


def _figure(row: Row) -> Figure:
    ends = row.change_percent, row.change_low, row.change_high
    logs = [None if end is None else _log(end) for end in ends]
    inside = format_words.interval(row)
    text = format_words.change(row) + ("ppm" if row.kind == "failures" else "")
    verdict = row.verdict if row.decides or row.verdict == _SHOWN else f"{row.verdict} (apart)"
    return Figure(
        describe(row), f"{text} ({inside})" if inside else text, _harm(logs, row.better), verdict
    )


def _log(percent: float) -> float:
    return -math.inf if percent <= -100 else math.log1p(percent / 100)


def _harm(logs: Sequence[float | None], better: Better) -> tuple[float, float, float]:
    """Return a change and its interval as harm: positive is worse."""
    middle, low, high = logs
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    assert middle is not None, "of known changes only"
    return (middle, low, high) if better == "lower" else (-middle, -high, -low)


def _lost(base: Sequence[Result], new: Sequence[Result]) -> str:
    """Return whether every block that was allocated came back, by the metrics that must agree."""
    found: list[int] = []
    for result in (*base, *new):
        for allocs, frees in _balances():
            for name, case in result.metrics:
                if name == allocs and result.values(frees, case).size:
                    sums = [int(result.values(each, case).sum()) for each in (allocs, frees)]
                    found.append(sums[0] - sums[1])
    if not found:
        return ""
    lost = [blocks for blocks in found if blocks]
    if lost:
        return f"BLOCKS WERE LOST until the next boot in {len(lost)} of {len(found)} cases of runs"
    return "every block came back in all runs"


def _balances() -> Iterator[tuple[str, str]]:
    for phase in metrics.phases():
        for subtest in phase.subtests:
            if len(subtest.balance) == 2:
                yield subtest.balance[0], subtest.balance[1]


def _curves(base: Sequence[Result], new: Sequence[Result], alpha: float) -> Iterator[Figure]:
    """Yield how much of a CPU's rate is kept where all work, of each rate that both sides have."""
    sides = [_kept(side) for side in (base, new)]
    for key in (key for key in sides[0] if key in sides[1]):
        rate, case, cpus = key
        samples = [side[key].sample() for side in sides]
        shift = interval.shift(samples[0], samples[1], alpha)
        percents = [
            100 * math.expm1(float(end)) if math.isfinite(end) else None
            for end in (shift.estimate, shift.low, shift.high)
        ]
        inside = notation.interval(percents[0], percents[1], percents[2])
        kept = " → ".join(f"{100 * float(np.median(side[key].values)):.0f} %" for side in sides)
        knees = " → ".join(side[key].knee for side in sides)
        change = notation.change(percents[0], percents[1], percents[2])
        logs = [None if end is None else _log(end) for end in percents]
        yield Figure(
            f"{metrics.declared(rate).label}, {case}: what each CPU keeps on {cpus}",
            f"{kept}, {change}{f' ({inside})' if inside else ''}; knee {knees}",
            _harm(logs, "higher"),
            _SHOWN,
        )


@dataclass
class _Kept:
    """What part of its rate each CPU keeps, a value a run, with the boots of the runs."""

    values: list[float]
    boots: list[int]
    knees: list[int | None]

    def sample(self) -> Sample:
        places = {boot: place for place, boot in enumerate(sorted(set(self.boots)))}
        values = np.array(self.values)
        return observations.averaged(values, values, [places[boot] for boot in self.boots])

    @property
    def knee(self) -> str:
        """Return where most runs have it."""
        [(knee, _)] = Counter(self.knees).most_common(1)
        return "none" if knee is None else str(knee)


def _kept(side: Sequence[Result]) -> dict[tuple[str, Any, int], _Kept]:
    of_run = observations.boots([start(result) for result in side]).of_run
    found: dict[tuple[str, Any, int], _Kept] = {}
    for result, boot in zip(side, of_run, strict=True):
        for curve in scaling.curves([result]):
            if curve.rate.kind is Kind.RATE and curve.efficiency > 0:
                key = curve.rate.name, curve.case, max(curve.points)
                kept = found.setdefault(key, _Kept([], [], []))
                kept.values.append(curve.efficiency)
                kept.boots.append(boot)
                kept.knees.append(curve.knee)
    return found

# SPDX-License-Identifier: GPL-2.0-only
"""Compare two sides, each of several runs: what changed, and may it be believed?

The run is the observation: percentiles are taken within a run, and tests are made between runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path

import numpy as np

from page_alloc_bench.runner.result import names
from page_alloc_bench.runner.result.metrics import Better, declared, families

from . import facts_difference, per_run, statistics
from .cautions import cautions
from .comparison import (
    CANNOT_TELL,
    NO_REGRESSION,
    REFUSED,
    REGRESSION,
    Comparison,
    Geomean,
    Row,
    Side,
    Verdict,
    describe,
    label,
)
from .conclusion import conclude
from .facts_difference import Difference
from .per_run import Below, Rank, Statistic
from .results import Result

__all__ = [
    "CANNOT_TELL",
    "NO_REGRESSION",
    "REFUSED",
    "REGRESSION",
    "CompareError",
    "Comparison",
    "Geomean",
    "RefusedError",
    "Row",
    "Side",
    "compare",
    "describe",
    "label",
]


class CompareError(Exception):
    """Nothing can be compared; the message is one line."""


class RefusedError(CompareError):
    """The sides differ in what invalidates the comparison: differences has those facts."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        names = ", ".join(d.name for d in differences)
        super().__init__(f"the runs differ in what invalidates the comparison: {names}")
        self.differences = tuple(differences)


def compare(
    base: Sequence[Result],
    new: Sequence[Result],
    *,
    threshold_percent: float = 2.0,
    confidence: float = 0.95,
    seed: int = 1,
    allow: Iterable[str] = (),
    only: Sequence[str] = (),
    everything: bool = False,
    sure: bool = False,
    resamples: int = statistics.RESAMPLES,
) -> Comparison:
    """Compare the runs of new with those of base.

    threshold_percent: the change that matters. confidence: of every interval, and the chance that
    no verdict is false if nothing has changed. allow: as in facts_difference.differences(). only:
    patterns for NAME, NAME:STATISTIC or NAME_orderN:STATISTIC of what is to be tested. everything:
    test all that has a good direction. sure: call it no regression only if the intervals exclude
    one. resamples: of each bootstrap. Raises RefusedError for sides that must not be compared,
    CompareError where nothing can be.
    """
    _check(base, new)
    if unknown := facts_difference.unknown(base, new, allow):
        raise CompareError(f"--allow-difference: {unknown}")
    differences = facts_difference.differences(base, new, allow)
    if refused := [d for d in differences if d.refused]:
        raise RefusedError(refused)
    figures = _Figures(base, new)
    wanted = figures.select(only, everything=everything)
    known = [s for s in wanted if not any(figures.below(s))]
    tested = [s for s in known if only or everything or figures.is_primary(s)]
    settings = _Settings(threshold_percent, confidence, seed, len(tested), resamples)
    rows, changes = _rows(figures, wanted, set(tested), settings)
    least = statistics.least_runs(len(tested), settings.alpha)
    sentence, exit_code = conclude(rows, threshold_percent, least, sure=sure)
    return Comparison(
        base=tuple(result.path for result in base),
        new=tuple(result.path for result in new),
        threshold_percent=threshold_percent,
        confidence=confidence,
        seed=seed,
        differences=tuple(differences),
        rows=tuple(rows),
        geomeans=tuple(_geomeans(rows, changes, confidence)),
        warnings=(*_gaps(figures), *cautions(base, new)),
        tests=len(tested),
        least_runs=least,
        sentence=sentence,
        exit_code=exit_code,
    )


@dataclass(frozen=True)
class _Settings:
    threshold_percent: float
    confidence: float
    seed: int
    tests: int
    resamples: int

    @property
    def alpha(self) -> float:
        """Return the chance of any false verdict that is put up with."""
        return 1 - self.confidence


def _check(base: Sequence[Result], new: Sequence[Result]) -> None:
    """Raise CompareError if a side is empty or a run is given twice, also as a copy."""
    if not base or not new:
        raise CompareError("each side needs at least one result")
    seen: dict[str, Path] = {}
    for result in (*base, *new):
        first = seen.setdefault(result.identity, result.path)
        if first is not result.path:
            raise CompareError(f"{result.path}: the same run as {first}; a run counts once")


class _Figures:
    """The figures of all runs of both sides, by statistic."""

    def __init__(self, base: Sequence[Result], new: Sequence[Result]) -> None:
        self._sides = [[per_run.statistics(result) for result in side] for side in (base, new)]
        found = [{s for run in side for s in run} for side in self._sides]
        self.common = found[0] & found[1]
        self.lone = sorted(found[0] ^ found[1], key=_place)
        if not self.common:
            raise CompareError(
                f"{base[0].path} and {new[0].path}: the sides have no metric in common"
            )

    def is_primary(self, statistic: Statistic) -> bool:
        """Return whether this is tested unless something else is asked for.

        A metric that varies less may be declared to be tested instead of another: where a side does
        not have it, the other stands in.
        """
        if statistic.rank is Rank.PRIMARY:
            return True
        better = declared(statistic.metric).stand_in_for
        return bool(better) and not any(
            (s.metric, s.case) == (better, statistic.case) for s in self.common
        )

    def select(self, only: Sequence[str], *, everything: bool) -> list[Statistic]:
        """Return the statistics to show, in the order of the table."""
        if only:
            for pattern in only:
                self._require(pattern)
            chosen = [s for s in self.common if any(_matches(s, pattern) for pattern in only)]
        else:
            chosen = [s for s in self.common if everything or s.rank < Rank.REST]
        return sorted(chosen, key=_place)

    def _require(self, pattern: str) -> None:
        """Raise CompareError for a pattern that matches nothing: a typing mistake is not silent."""
        if any(_matches(s, pattern) for s in self.common):
            return
        name, _, kind = pattern.partition(":")
        of_it = [s for s in sorted(self.common, key=_place) if _matches(s, name)]
        if of_it:
            instead = names.instead_of(kind, (s.statistic for s in of_it))
        else:
            instead = names.instead_of(name, (s.metric for s in sorted(self.common, key=_place)))
        raise CompareError(f"no metric in common matches {pattern}. {instead}")

    def arrays(self, statistic: Statistic) -> tuple[statistics.Array, statistics.Array]:
        """Return the figures of both sides; a run that lacks this one has none in them."""
        base, new = (
            np.array([run[statistic] for run in side if statistic in run]) for side in self._sides
        )
        return base, new

    def below(self, statistic: Statistic) -> tuple[bool, bool]:
        """Return for each side whether the clock of one of its runs was too coarse for this."""
        base, new = (
            any(isinstance(run.get(statistic), Below) for run in side) for side in self._sides
        )
        return base, new

    def incomplete(self) -> list[Statistic]:
        """Return the statistics that some runs lack."""
        runs = [run for side in self._sides for run in side]
        return [s for s in sorted(self.common, key=_place) if any(s not in run for run in runs)]


def _place(statistic: Statistic) -> tuple[object, ...]:
    return statistic.place


def _matches(statistic: Statistic, pattern: str) -> bool:
    name, _, kind = pattern.partition(":")
    names = (statistic.metric, statistic.key)
    return any(fnmatchcase(n, name) for n in names) and kind in ("", statistic.statistic)


def _rows(
    figures: _Figures, wanted: Sequence[Statistic], tested: set[Statistic], settings: _Settings
) -> tuple[list[Row], list[statistics.Change]]:
    """Return a row for each wanted statistic, and the change it tells."""
    arrays = [figures.arrays(statistic) for statistic in wanted]
    tests = {
        statistic: statistics.u_test(*pair)
        for statistic, pair in zip(wanted, arrays, strict=True)
        if statistic in tested
    }
    corrected = dict(zip(tests, statistics.holm([p for p, _ in tests.values()]), strict=True))
    rows, changes = [], []
    for statistic, (base, new) in zip(wanted, arrays, strict=True):
        change = statistics.change(
            base, new, settings.confidence, settings.seed, settings.resamples
        )
        changes.append(change)
        p, larger = tests.get(statistic, (None, 0))
        p_corrected = corrected.get(statistic)
        verdict = _verdict(statistic.better, (base.size, new.size), p_corrected, larger, settings)
        below = figures.below(statistic)
        percent = None if any(below) else _percent(change.ratio)
        # A change from nothing to something has no percentage and is beyond any.
        far = change.ratio is None or (
            change.ratio * larger > 0 and abs(change.ratio) * 100 >= settings.threshold_percent
        )
        low, high = (None, None) if any(below) else change.interval or (None, None)
        rows.append(
            Row(
                family=statistic.family,
                metric=statistic.metric,
                statistic=statistic.statistic,
                order=statistic.order,
                chosen=statistic.case.chosen,
                unit=statistic.unit,
                better=statistic.better,
                base=_side(base, settings.confidence, below=below[0]),
                new=_side(new, settings.confidence, below=below[1]),
                change_percent=percent,
                change_low=_percent(low),
                change_high=_percent(high),
                p=p,
                p_corrected=p_corrected,
                verdict=verdict,
                beyond=verdict in ("better", "worse") and far,
                runs_needed=None
                if any(below)
                else _runs_needed(base, new, statistic in tested, settings),
            )
        )
    return rows, changes


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


def _side(values: statistics.Array, confidence: float, *, below: bool) -> Side:
    interval = None if below else statistics.median_interval(values, confidence)
    low, high = interval or (None, None)
    return Side(tuple(map(float, values)), float(np.median(values)), low, high, below)


def _verdict(
    better: Better, runs: tuple[int, int], p: float | None, larger: int, settings: _Settings
) -> Verdict:
    if p is None:
        return "not tested"
    reachable = statistics.least_p(*runs) * settings.tests <= settings.alpha
    if min(runs) < statistics.LEAST_RUNS or not reachable:
        return "too few runs"
    if p > settings.alpha or not larger:
        return "~"
    return "better" if (larger > 0) == (better == "higher") else "worse"


def _runs_needed(
    base: statistics.Array, new: statistics.Array, tested: bool, settings: _Settings
) -> int | None:
    """Return the runs needed to find the threshold, as one of so many tests."""
    tests = settings.tests if tested else settings.tests + 1
    alpha = settings.alpha / tests
    needed = statistics.runs_needed(base, new, settings.threshold_percent / 100, alpha)
    least = statistics.least_runs(tests, settings.alpha)
    return None if needed is None else max(needed, least)


def _geomeans(
    rows: Sequence[Row], changes: Sequence[statistics.Change], confidence: float
) -> list[Geomean]:
    """Return the mean of each family of tested rows that has more than one."""
    tested = [(r, c) for r, c in zip(rows, changes, strict=True) if r.verdict != "not tested"]
    tested.sort(key=lambda pair: pair[0].family)
    means = []
    for family, group in groupby(tested, key=lambda pair: pair[0].family):
        members = list(group)
        sizes = {(len(row.base.values), len(row.new.values)) for row, _ in members}
        mean, interval = statistics.geometric_mean([c for _, c in members], confidence)
        if mean is None or len(members) < 2:
            continue
        low, high = interval if interval and len(sizes) == 1 else (None, None)
        means.append(Geomean(family, len(members), 100 * mean, _percent(low), _percent(high)))
    return sorted(means, key=lambda mean: families().index(mean.family))


def _gaps(figures: _Figures) -> list[str]:
    """Return what could not be compared, or not of all runs."""
    lone = [s for s in figures.lone if figures.is_primary(s)]
    lacking = [s for s in figures.incomplete() if figures.is_primary(s)]
    coarse = [s for s in sorted(figures.common, key=_place) if any(figures.below(s))]
    coarse = [s for s in coarse if figures.is_primary(s)]
    return [
        *(
            f"{describe(s)} is below the step of a run's clock, and no more is known of it: not "
            "tested"
            for s in coarse
        ),
        *(f"only one side has {describe(s)}: not compared" for s in lone),
        *(f"some runs have no {describe(s)}: the others are compared" for s in lacking),
    ]

# SPDX-License-Identifier: GPL-2.0-only
"""Compare two sides, each of several runs: what changed, and may it be believed?

The run is the observation: percentiles are taken within a run, and tests are made between runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from . import facts_difference, per_run, statistics
from .facts_difference import Difference
from .per_run import Rank, Statistic
from .results import Better, Result

Verdict = Literal["better", "worse", "~", "too few runs", "not tested"]

NO_REGRESSION, REGRESSION, CANNOT_TELL, REFUSED = range(4)


class CompareError(Exception):
    """Nothing can be compared; the message is one line."""


class RefusedError(CompareError):
    """The sides differ in what invalidates the comparison: differences has those facts."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        names = ", ".join(d.name for d in differences)
        super().__init__(f"the runs differ in what invalidates the comparison: {names}")
        self.differences = tuple(differences)


@dataclass(frozen=True)
class Side:
    """What one side has of a statistic. values: one a run, in the order of the files.

    low, high: the exact interval of the median; None where too few runs have none.
    """

    values: tuple[float, ...]
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A statistic on both sides.

    better: the direction that is good. change_percent: of the medians, None if the base's is 0;
    change_low, change_high: its interval, None if there is none. p, p_corrected: of the U test,
    None if it was not made. beyond: the change is in the direction of the verdict and at least the
    threshold. runs_needed: about how many a side would find a change of the threshold; None if the
    runs show no variance to tell it by.
    """

    family: str
    metric: str
    statistic: str
    order: int
    unit: str
    better: Better
    base: Side
    new: Side
    change_percent: float | None
    change_low: float | None
    change_high: float | None
    p: float | None
    p_corrected: float | None
    verdict: Verdict
    beyond: bool
    runs_needed: int | None

    @property
    def regression(self) -> bool:
        """Return whether it is worse, significantly and by the threshold or more."""
        return self.verdict == "worse" and self.beyond


@dataclass(frozen=True)
class Geomean:
    """The mean change of the tested rows of one family, in percent, with its interval."""

    family: str
    rows: int
    change_percent: float
    change_low: float | None
    change_high: float | None


@dataclass(frozen=True)
class Comparison:
    """All that is said of two sides.

    tests: how many p-values were corrected together. least_runs: a side, for one of them to be
    significant at all. sentence: the verdict, for people. exit_code: NO_REGRESSION and so on.
    """

    base: tuple[Path, ...]
    new: tuple[Path, ...]
    threshold_percent: float
    confidence: float
    seed: int
    differences: tuple[Difference, ...]
    rows: tuple[Row, ...]
    geomeans: tuple[Geomean, ...]
    warnings: tuple[str, ...]
    tests: int
    least_runs: int
    sentence: str
    exit_code: int

    @property
    def tested(self) -> list[Row]:
        """Return the rows that a verdict was asked of."""
        return [row for row in self.rows if row.verdict != "not tested"]


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
    differences = facts_difference.differences(base, new, allow)
    if refused := [d for d in differences if d.refused]:
        raise RefusedError(refused)
    figures = _Figures(base, new)
    wanted = figures.select(only, everything=everything)
    tested = [s for s in wanted if only or everything or s.rank is Rank.PRIMARY]
    settings = _Settings(threshold_percent, confidence, seed, len(tested), resamples)
    rows, changes = _rows(figures, wanted, set(tested), settings)
    least = statistics.least_runs(len(tested), settings.alpha)
    sentence, exit_code = _conclude(rows, settings, least, (len(base), len(new)), sure=sure)
    return Comparison(
        base=tuple(result.path for result in base),
        new=tuple(result.path for result in new),
        threshold_percent=threshold_percent,
        confidence=confidence,
        seed=seed,
        differences=tuple(differences),
        rows=tuple(rows),
        geomeans=tuple(_geomeans(rows, changes, confidence)),
        warnings=tuple(_warnings(base, new, figures)),
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
    """Raise CompareError if a side is empty or a run is given twice, be it as a copy."""
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
        self.lone = sorted(found[0] ^ found[1], key=_order)
        if not self.common:
            raise CompareError(
                f"{base[0].path} and {new[0].path}: the sides have no metric in common"
            )

    def select(self, only: Sequence[str], *, everything: bool) -> list[Statistic]:
        """Return the statistics to show, in the order of the table."""
        if only:
            chosen = [s for s in self.common if any(_matches(s, pattern) for pattern in only)]
            if not chosen:
                raise CompareError(f"no metric in common matches {', '.join(only)}")
        else:
            chosen = [s for s in self.common if everything or s.rank < Rank.REST]
        return sorted(chosen, key=_order)

    def arrays(self, statistic: Statistic) -> tuple[statistics.Array, statistics.Array]:
        """Return the figures of both sides; a run that lacks this one has none in them."""
        base, new = (
            np.array([run[statistic] for run in side if statistic in run]) for side in self._sides
        )
        return base, new

    def incomplete(self) -> list[Statistic]:
        """Return the statistics that some runs lack."""
        runs = [run for side in self._sides for run in side]
        return [s for s in sorted(self.common, key=_order) if any(s not in run for run in runs)]


_FAMILIES = (
    "available memory",
    "rate",
    "allocation latency",
    "free latency",
)


def _order(statistic: Statistic) -> tuple[object, ...]:
    family = statistic.family
    place = _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)
    names = ("median", "p99", "p99.9", "max")
    kind = names.index(statistic.statistic) if statistic.statistic in names else 0
    # What is measured first, idle, stands first.
    antagonized = statistic.metric.startswith("antagonized")
    return (statistic.order, place, family, antagonized, statistic.metric, kind)


def _matches(statistic: Statistic, pattern: str) -> bool:
    name, _, kind = pattern.partition(":")
    names = (statistic.metric, f"{statistic.metric}_order{statistic.order}")
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
        percent = _percent(change.ratio)
        # A change from nothing to something has no percentage and is beyond any.
        far = change.ratio is None or (
            change.ratio * larger > 0 and abs(change.ratio) * 100 >= settings.threshold_percent
        )
        low, high = change.interval or (None, None)
        rows.append(
            Row(
                family=statistic.family,
                metric=statistic.metric,
                statistic=statistic.statistic,
                order=statistic.order,
                unit=statistic.unit,
                better=statistic.better,
                base=_side(base, settings.confidence),
                new=_side(new, settings.confidence),
                change_percent=percent,
                change_low=_percent(low),
                change_high=_percent(high),
                p=p,
                p_corrected=p_corrected,
                verdict=verdict,
                beyond=verdict in ("better", "worse") and far,
                runs_needed=_runs_needed(base, new, statistic in tested, settings),
            )
        )
    return rows, changes


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


def _side(values: statistics.Array, confidence: float) -> Side:
    low, high = statistics.median_interval(values, confidence) or (None, None)
    return Side(tuple(map(float, values)), float(np.median(values)), low, high)


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
    place: Callable[[Geomean], int] = lambda mean: (  # noqa: E731
        _FAMILIES.index(mean.family) if mean.family in _FAMILIES else len(_FAMILIES)
    )
    return sorted(means, key=place)


def _warnings(base: Sequence[Result], new: Sequence[Result], figures: _Figures) -> list[str]:
    lone = [s for s in figures.lone if s.rank is Rank.PRIMARY]
    warnings = [f"only one side has {describe(s)}: not compared" for s in lone]
    lacking = [s for s in figures.incomplete() if s.rank is Rank.PRIMARY]
    warnings += [f"some runs have no {describe(s)}: the others are compared" for s in lacking]
    if any("TCG" in (r.run["machine"].get("cpu_model") or "") for r in (*base, *new)):
        warnings.append("the CPUs were emulated: times tell nothing of real hardware")
    noted = [r for r in (*base, *new) if r.run["warnings"]]
    if noted:
        first = noted[0].run["warnings"][0]
        warnings.append(f"{len(noted)} run(s) have warnings of their own, such as: {first}")
    return warnings


def describe(row: Row | Statistic) -> str:
    """Return a short name of a statistic, such as "allocation p99, order 4"."""
    return f"{label(row)}, order {row.order}"


_LABELS = {
    "idle_available_bytes": "idle memory",
    "antagonized_available_bytes": "antagonized memory",
    "kernel_page_allocs_per_second": "allocation rate",
    "kernel_page_alloc_latencies_ns": "allocation",
    "kernel_page_free_latencies_ns": "free",
    "kernel_alloc_failure_latencies_ns": "failed allocation",
    "kernel_alloc_failures": "failures",
    "kernel_page_allocs_remote": "remote allocations",
}


def label(row: Row | Statistic) -> str:
    """Return the name of a statistic without its order."""
    name = _LABELS.get(row.metric)
    if name is None:
        name = row.metric.removesuffix("_ns").removesuffix("_bytes").replace("_", " ")
    return f"{name} {row.statistic}" if row.metric.endswith("_latencies_ns") else name


def _conclude(
    rows: Sequence[Row],
    settings: _Settings,
    least: int,
    runs: tuple[int, int],
    *,
    sure: bool,
) -> tuple[str, int]:
    """Return the verdict as a sentence, and the exit code."""
    limit = f"{settings.threshold_percent:g} %"
    tested = [row for row in rows if row.verdict != "not tested"]
    worse = [row for row in tested if row.regression]
    better = [row for row in tested if row.verdict == "better" and row.beyond]
    too_few = [row for row in tested if row.verdict == "too few runs"]
    gains = f" Better: {_listed(better)}." if better else ""
    if worse:
        return f"Regression of {limit} or more: {_listed(worse)}.{gains}", REGRESSION
    if too_few:
        return _too_few(too_few, settings, least, runs) + gains, CANNOT_TELL
    open_rows = [row for row in tested if _possible(row, settings.threshold_percent)]
    if sure and open_rows:
        needed = max((row.runs_needed or 0) for row in open_rows)
        return (
            f"Cannot tell: a regression of {limit} is not excluded for {_listed(open_rows)}; "
            f"about {needed:,} runs a side would find one.{gains}",
            CANNOT_TELL,
        )
    return f"No regression of {limit} or more was found.{gains}", NO_REGRESSION


def _possible(row: Row, threshold_percent: float) -> bool:
    """Return whether the interval of the change holds a regression of the threshold."""
    if row.verdict == "better":
        return False
    bound = row.change_high if row.better == "lower" else row.change_low
    if bound is None:
        return len({*row.base.values, *row.new.values}) > 1
    return (bound if row.better == "lower" else -bound) >= threshold_percent


def _too_few(rows: Sequence[Row], settings: _Settings, least: int, runs: tuple[int, int]) -> str:
    known = [row for row in rows if row.runs_needed is not None]
    text = (
        f"Cannot tell: of {runs[0]} and {runs[1]} runs no test can be significant "
        f"({settings.tests} tests need {least} a side)."
    )
    if not known:
        return text + " Nothing can be said of their variance either."
    easy = min(known, key=lambda row: row.runs_needed or 0)
    hard = max(known, key=lambda row: row.runs_needed or 0)
    return text + (
        f" By the variance seen, {settings.threshold_percent:g} % is found with 80 % power by"
        f" about {easy.runs_needed:,} runs a side for {describe(easy)}"
        f" and {hard.runs_needed:,} for {describe(hard)}."
    )


def _listed(rows: Sequence[Row]) -> str:
    """Return rows as words, the largest change first, at most four."""
    ordered = sorted(rows, key=lambda row: -abs(row.change_percent or float("inf")))
    words = [
        describe(row) + ("" if row.change_percent is None else f" {row.change_percent:+.1f} %")
        for row in ordered[:4]
    ]
    return "; ".join(words) + (f" and {len(rows) - 4} more" if len(rows) > 4 else "")

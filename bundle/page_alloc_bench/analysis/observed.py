# SPDX-License-Identifier: GPL-2.0-only
"""What two sides measured, a value a boot: percentiles are of a run, runs of one boot are averaged.

A figure that the clock was too coarse for is known to be less than something, and takes part so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import numpy as np

from page_alloc_bench.runner.result import names
from page_alloc_bench.runner.result.metrics import declared

from . import per_run
from .per_run import Below, Rank, Statistic
from .results import Result
from .thresholds import DECIDING, kind_of
from .verdict import observations, order
from .verdict.interval import Array
from .verdict.observations import Boots, Start


class NothingError(ValueError):
    """Nothing is there to be compared; the message is one line."""


def start(result: Result) -> Start:
    """Return what a run tells of its boot."""
    try:
        text = result.started_at.replace("Z", "+00:00")
        started: float | None = datetime.fromisoformat(text).timestamp()
    except ValueError:  # it is not told
        started = None
    return Start(result.run.get("boot_id"), started, result.run["machine"].get("uptime_s"))


class Observed:
    """The figures of all boots of both sides, by statistic. runs: of each side, a run each.

    paired: each value of a side is of the same host as that of the other.
    """

    paired = False

    def __init__(self, base: Sequence[Result], new: Sequence[Result]) -> None:
        """Take the figures from the runs."""
        sides = (base, new)
        self.runs = [[per_run.statistics(result) for result in side] for side in sides]
        self.boots: tuple[Boots, Boots] = (
            observations.boots([start(result) for result in base]),
            observations.boots([start(result) for result in new]),
        )
        found = [{s for run in side for s in run} for side in self.runs]
        self.common = sorted(found[0] & found[1], key=_place)
        self.lone = sorted(found[0] ^ found[1], key=_place)

    def times(self) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
        """Return when each boot of each side was first measured, in seconds; None: not known."""
        return self.boots[0].started, self.boots[1].started

    def together(self) -> float | None:
        """Return how the sides follow each other in time, as Order has it."""
        return order.order(*self.times()).together

    def decides(self, statistic: Statistic) -> bool:
        """Return whether the verdict rests on this unless something else is asked for.

        A metric that varies less may be declared to be tested instead of another: where a side does
        not have it, the other stands in.
        """
        kind = kind_of(statistic)
        return kind == "failures" or (kind in DECIDING and self.weighs(statistic))

    def weighs(self, statistic: Statistic) -> bool:
        """Return whether this is tested by default, be it that it decides or apart."""
        if statistic.rank is Rank.PRIMARY:
            return True
        better = declared(statistic.metric).stand_in_for
        return bool(better) and not any(
            (s.metric, s.case) == (better, statistic.case) for s in self.common
        )

    def select(self, only: Sequence[str], *, everything: bool) -> list[Statistic]:
        """Return the statistics to show: those of the patterns in only, everything, or the usual.

        Raises NothingError for a pattern that names none, and for patterns beside everything.
        """
        if only and everything:
            raise NothingError(
                "--all-statistics shows all, and --metric, or the plan of a campaign, only some: "
                "leave out one of them"
            )
        if not only:
            return [s for s in self.common if everything or s.rank < Rank.REST]
        for pattern in only:
            self._require(pattern)
        return [s for s in self.common if any(_matches(s, pattern) for pattern in only)]

    def _require(self, pattern: str) -> None:
        if self._measured(pattern) or self.absent([pattern]):
            return
        name, _, kind = pattern.partition(":")
        of_it = [s for s in (*self.common, *self.lone) if _matches(s, name)]
        if of_it:
            instead = names.instead_of(kind, (s.statistic for s in of_it))
        else:
            instead = names.instead_of(name, (s.metric for s in self.common))
        raise NothingError(f"no metric in common matches {pattern}. {instead}")

    def missing(self, only: Sequence[str]) -> list[Statistic]:
        """Return what a verdict was to rest on, and only one side has."""
        if only:
            return [s for s in self.lone if any(_matches(s, pattern) for pattern in only)]
        stands = {(declared(s.metric).stand_in_for, s.case) for s in self.common}
        return [s for s in self.lone if self.decides(s) and (s.metric, s.case) not in stands]

    def absent(self, only: Sequence[str]) -> list[str]:
        """Return what a verdict was to rest on, and neither side has, a metric of some workload.

        Of it nothing is known but the name, so that its statistic may be any.
        """
        found = {s.metric for s in (*self.common, *self.lone)}
        lacking = [name for name in per_run.names() if name not in found]
        return [
            pattern
            for pattern in only
            if not self._measured(pattern) and any(_names(name, pattern) for name in lacking)
        ]

    def _measured(self, pattern: str) -> bool:
        """Return whether any side has what a pattern names."""
        return any(_matches(s, pattern) for s in (*self.common, *self.lone))

    def incomplete(self) -> list[Statistic]:
        """Return the statistics that some runs lack."""
        runs = [run for side in self.runs for run in side]
        return [s for s in self.common if any(s not in run for run in runs)]

    def values(self, statistic: Statistic, side: int) -> tuple[Array, Array, list[int]]:
        """Return what each boot's figure is at least and at most, and the boots that have one."""
        of_run = self.boots[side].of_run
        having = [
            (run[statistic], boot)
            for run, boot in zip(self.runs[side], of_run, strict=True)
            if statistic in run
        ]
        boots = sorted({boot for _, boot in having})
        low = np.array([0 if isinstance(value, Below) else value for value, _ in having], float)
        high = np.array([value for value, _ in having], float)
        places = [boots.index(boot) for _, boot in having]
        return *observations.means(low, high, places), boots

    def when(self, boots: tuple[list[int], list[int]]) -> tuple[Array, Array] | None:
        """Return the times of these boots of each side; None if one is not known."""
        times = [
            [self.boots[side].started[boot] for boot in which] for side, which in enumerate(boots)
        ]
        if any(time is None for side in times for time in side):
            return None
        return np.array(times[0], float), np.array(times[1], float)


def _place(statistic: Statistic) -> tuple[object, ...]:
    return statistic.place


def _names(metric: str, pattern: str) -> bool:
    """Return whether a pattern names a metric of which no case is known."""
    name = pattern.partition(":")[0]
    return fnmatchcase(metric, name) or name.startswith(f"{metric}_order")


def _matches(statistic: Statistic, pattern: str) -> bool:
    name, _, kind = pattern.partition(":")
    names_of_it = (statistic.metric, statistic.key)
    return any(fnmatchcase(n, name) for n in names_of_it) and kind in ("", statistic.statistic)

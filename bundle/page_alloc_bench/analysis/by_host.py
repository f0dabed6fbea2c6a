# SPDX-License-Identifier: GPL-2.0-only
"""Sides that the same hosts measured: what counts is by how much each host differs from itself.

Hosts may be of any kinds: none is compared with another. A host that measured one side only, be it
that it failed on the other, is left out.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import facts_difference
from .facts_difference import Difference
from .observed import NothingError, Observed, start
from .per_run import Below, Statistic
from .results import Result
from .verdict.interval import Array
from .verdict.observations import Boots

Runs = Sequence[Result]


@dataclass(frozen=True)
class Hosts:
    """The hosts of both sides. base, new: the runs of each host, in the order of names.

    names: of hosts that measured both sides. alone: of those that measured one.
    """

    names: tuple[str, ...]
    base: tuple[Runs, ...]
    new: tuple[Runs, ...]
    alone: tuple[str, ...]

    @property
    def machines(self) -> tuple[str, ...]:
        """Return what kind of machine each host is: model and number of its CPUs, and nodes."""
        return tuple(map(_machine, (runs[0] for runs in self.base)))

    def only(self, indices: Sequence[int]) -> Hosts:
        """Return some of the hosts."""
        pick = [(self.names[i], self.base[i], self.new[i]) for i in indices]
        names, base, new = zip(*pick, strict=True)
        return Hosts(names, base, new, ())

    def sides(self) -> tuple[list[Result], list[Result]]:
        """Return the runs of each side."""
        base, new = ([run for runs in side for run in runs] for side in (self.base, self.new))
        return base, new


def hosts(base: Runs, new: Runs) -> Hosts:
    """Return the hosts of two sides. Raises NothingError if they cannot be told."""
    found = [_by_host(side) for side in (base, new)]
    names = tuple(sorted(found[0].keys() & found[1].keys()))
    if not names:
        raise NothingError("no host measured both sides: compare without --by-host")
    alone = tuple(sorted(found[0].keys() ^ found[1].keys()))
    first, second = (tuple(side[name] for name in names) for side in found)
    return Hosts(names, first, second, alone)


def differences(of: Hosts, allow: Iterable[str]) -> list[Difference]:
    """Return the facts in which hosts differ from themselves, as facts_difference.differences()."""
    found: dict[str, Difference] = {}
    for base, new in zip(of.base, of.new, strict=True):
        for each in facts_difference.differences(base, new, allow):
            known = found.get(each.name, each)
            found[each.name] = replace(
                known if known.refused else each,
                base=_together(known.base, each.base),
                new=_together(known.new, each.new),
                within=known.within or each.within,
            )
    return list(found.values())


class ByHost(Observed):
    """The figures of both sides, a value a host: the median of its runs."""

    paired = True

    def __init__(self, of: Hosts) -> None:
        """Take the figures from the runs. Raises NothingError if the sides have none in common."""
        super().__init__(*of.sides())
        self.alone = of.alone
        first, second = (
            Boots(
                tuple(host for host, runs in enumerate(side) for _ in runs),
                guessed=False,
                started=tuple(map(_started, side)),
            )
            for side in (of.base, of.new)
        )
        self.boots = first, second

    def values(self, statistic: Statistic, side: int) -> tuple[Array, Array, list[int]]:
        """Return what each host's figure is at least and at most, and which hosts have both."""
        found = [self._of_hosts(statistic, each) for each in (0, 1)]
        having = sorted(found[0].keys() & found[1].keys())
        low, high = (
            np.array([statistics.median(pick(v) for v in found[side][host]) for host in having])
            for pick in (_least, float)
        )
        return low, high, having

    def _of_hosts(self, statistic: Statistic, side: int) -> dict[int, list[float]]:
        made: dict[int, list[float]] = {}
        for run, host in zip(self.runs[side], self.boots[side].of_run, strict=True):
            if statistic in run:
                made.setdefault(host, []).append(run[statistic])
        return made

    def together(self) -> float | None:
        """Return in which order the hosts measured the sides: 1 if all of them base first."""
        base, new = self.times()
        if None in base or None in new:
            return None
        return float(np.mean(np.sign(np.array(new, float) - np.array(base, float))))


def _least(value: float) -> float:
    return 0.0 if isinstance(value, Below) else float(value)


def _by_host(side: Runs) -> dict[str, list[Result]]:
    made: dict[str, list[Result]] = {}
    for result in side:
        name = result.run.get("host_id")
        if not name:
            raise NothingError(f"{result.path} does not say of which host it is (host_id)")
        made.setdefault(str(name), []).append(result)
    return made


def _started(runs: Runs) -> float | None:
    times = [start(run).started for run in runs]
    known = [time for time in times if time is not None]
    return statistics.median(known) if len(known) == len(times) else None


def _machine(result: Result) -> str:
    machine = result.run["machine"]
    cpus = machine.get("cpus_used") or "?"
    nodes = len(machine.get("nodes") or ())
    return f"{machine.get('cpu_model') or 'unknown CPU'}, CPUs {cpus}, {nodes} node(s)"


def _together(left: Sequence[str], right: Sequence[str]) -> tuple[str, ...]:
    return tuple(Counter([*left, *right]))

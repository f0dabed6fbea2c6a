# SPDX-License-Identifier: GPL-2.0-only
"""From results to series: a machine, a configuration, a figure, and its values by kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from page_alloc_bench.analysis import facts, facts_difference, per_run
from page_alloc_bench.analysis.observed import start
from page_alloc_bench.analysis.per_run import Rank, Statistic
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.analysis.verdict import observations
from page_alloc_bench.analysis.verdict.interval import Array
from page_alloc_bench.runner.result.metrics import declared
from page_alloc_bench.runner.result.names import instead_of

COMMIT, RELEASE = "labels.commit", "kernel.release"

Note = Callable[[str], object]


class TrendError(Exception):
    """No series can be made; the message is one line."""


class NothingError(TrendError):
    """No figure was measured on two kernels of one machine."""


@dataclass(frozen=True)
class Point:
    """What one kernel gave. name: of the kernel. boots: a value a boot. run: one of its runs."""

    name: str
    boots: Array
    run: Result = field(repr=False)

    @property
    def value(self) -> float:
        """Return the logarithm of the median of the boots."""
        return float(np.log(np.median(self.boots)))


@dataclass(frozen=True)
class Series:
    """A figure on one machine, in one configuration. points: by the order of the kernels."""

    machine: str
    statistic: Statistic
    points: Sequence[Point]


def series(
    results: Sequence[Result],
    note: Note,
    *,
    by: str | None = None,
    tree: Path | None = None,
    only: Sequence[str] = (),
) -> list[Series]:
    """Return the series in results.

    by: the fact that tells kernels apart; None: the label "commit" where every run has it, else the
    release. tree: of git, whose history gives commits their order; without, kernels are ordered by
    when they were first measured. only: patterns of metrics, NAME or NAME:STATISTIC; none: those
    that compare tests. note: is told of what is left out. Raises TrendError.
    """
    whole = [result for result in results if result.run["complete"]]
    if len(whole) < len(results):
        note(f"{len(results) - len(whole)} runs are not complete: left out")
    if tree is None:
        whole = dated(whole, note)
    for pattern in only:
        _require(pattern, whole)
    named = _named(whole, by)
    found = []
    for machine, runs in machines(whole):
        kernels: dict[str, list[Result]] = {}
        for result in runs:
            kernels.setdefault(named[id(result)], []).append(result)
        ordered = _ordered(list(kernels), tree) if tree else list(kernels)
        found += _of_machine(machine, [(name, kernels[name]) for name in ordered], only)
    if not found:
        raise NothingError("no figure was measured on two kernels of one machine")
    return found


def _named(results: Sequence[Result], by: str | None) -> dict[int, str]:
    """Return the name of the kernel of each run, by the identity of the object."""
    flat = [facts.flatten(result.run) for result in results]
    if by is None:
        by = COMMIT if flat and all(COMMIT in each for each in flat) else RELEASE
    lacking = [r.path for r, each in zip(results, flat, strict=True) if by not in each]
    if lacking:
        raise TrendError(f"{lacking[0]} has no fact {by} (--by); {len(lacking)} runs lack it")
    return {id(r): facts.text(each[by]) for r, each in zip(results, flat, strict=True)}


def dated(results: Sequence[Result], note: Note) -> list[Result]:
    """Return the runs that have a place in the order of time; note is told of the others."""
    found = [result for result in results if result.started_at]
    left = len(results) - len(found)
    if left:
        what = "run does not tell when it" if left == 1 else "runs do not tell when they"
        note(f"{left} {what} began: left out")
    return found


def machines(results: Iterable[Result]) -> list[tuple[str, list[Result]]]:
    """Return the runs that may be compared, by machine and configuration, by their time.

    They are of one host, and differ in nothing that forbids a comparison. Those that do not tell
    their time come first.
    """
    groups: list[tuple[str, Result, list[Result]]] = []
    for result in sorted(results, key=lambda r: r.started_at):
        host = str(result.run.get("host_id") or "unknown")
        for its_host, first, runs in groups:
            if host == its_host and _alike(first, result):
                runs.append(result)
                break
        else:
            groups.append((host, result, [result]))
    return [(_title(groups, at), runs) for at, (_, _, runs) in enumerate(groups)]


def _alike(first: Result, other: Result) -> bool:
    return not any(d.refused for d in facts_difference.differences([first], [other]))


def _title(groups: Sequence[tuple[str, Result, list[Result]]], at: int) -> str:
    """Return the name of a group: its host, and what tells it from others of the host."""
    host, first, _ = groups[at]
    hosts = {each for each, _, _ in groups}
    digits = next(n for n in range(8, 65) if len({each[:n] for each in hosts}) == len(hosts))
    name = (first.run.get("labels") or {}).get("host") or f"host {host[:digits]}"
    before = [result for its_host, result, _ in groups[:at] if its_host == host]
    if not before:
        return str(name)
    differs = facts_difference.differences([before[0]], [first])
    told = ", ".join(f"{d.name} {d.new[0]}" for d in differs if d.refused)
    return f"{name}, {told}"


def _of_machine(
    machine: str, kernels: Sequence[tuple[str, list[Result]]], only: Sequence[str]
) -> list[Series]:
    values: dict[Statistic, list[Point]] = {}
    for name, runs in kernels:
        taken = [per_run.statistics(result) for result in runs]
        of_run = observations.boots([start(result) for result in runs]).of_run
        for statistic in dict.fromkeys(s for each in taken for s in each):
            if not _wanted(statistic, only):
                continue
            having = [
                (each[statistic], boot)
                for each, boot in zip(taken, of_run, strict=True)
                if statistic in each
            ]
            boots = sorted({boot for _, boot in having})
            known = np.array([value for value, _ in having])
            means, _ = observations.means(known, known, [boots.index(b) for _, b in having])
            if means.min() > 0:  # of nothing there is no ratio
                values.setdefault(statistic, []).append(Point(name, means, runs[0]))
    ordered = sorted(values.items(), key=lambda item: item[0].place)
    return [
        Series(machine, statistic, points)
        for statistic, points in ordered
        if len(points) > 1 and (only or _weighs(statistic, values))
    ]


def _weighs(statistic: Statistic, among: Iterable[Statistic]) -> bool:
    """Return whether compare tests a figure by default, as Observed.weighs() has it."""
    if statistic.rank is Rank.PRIMARY:
        return True
    better = declared(statistic.metric).stand_in_for
    return bool(better) and (better, statistic.case) not in {(s.metric, s.case) for s in among}


def _wanted(statistic: Statistic, only: Sequence[str]) -> bool:
    if not only:
        return True
    for pattern in only:
        name, _, kind = pattern.partition(":")
        if kind in ("", statistic.statistic) and any(
            fnmatchcase(text, name) for text in (statistic.metric, statistic.key)
        ):
            return True
    return False


def _require(pattern: str, results: Sequence[Result]) -> None:
    """Raise TrendError if no result has a figure that matches."""
    known = list(dict.fromkeys(s for result in results for s in per_run.statistics(result)))
    if known and not any(_wanted(statistic, [pattern]) for statistic in known):
        name, _, kind = pattern.partition(":")
        of_it = [s.statistic for s in known if _wanted(s, [name])]
        instead = instead_of(kind, of_it) if of_it else instead_of(name, (s.metric for s in known))
        raise TrendError(f"no run has a figure that matches {pattern!r} (--metric). {instead}")


def _ordered(names: Sequence[str], tree: Path) -> list[str]:
    """Return commits, oldest first, as the history of a tree has them. Raises TrendError."""
    commits = [f"{name}^{{commit}}" for name in names]
    done = _git(tree, "rev-parse", "--end-of-options", *commits)
    whole = [line for line in done.stdout.split() if not line.startswith("-")]
    if done.returncode or len(whole) != len(names):
        raise TrendError(f"{tree}: git knows not all of the commits: {done.stderr.strip()}")
    history = _git(tree, "rev-list", "--topo-order", "--reverse", *whole).stdout.split()
    place = {commit: number for number, commit in enumerate(history)}
    found = dict(zip(names, whole, strict=True))
    return sorted(names, key=lambda name: place[found[name]])


def _git(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-C", tree, *arguments], capture_output=True, text=True, check=False
    )

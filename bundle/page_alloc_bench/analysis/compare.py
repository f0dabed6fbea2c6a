# SPDX-License-Identifier: GPL-2.0-only
"""Compare two sides, each of several boots: what changed, and may it be believed?

The boot is the observation: percentiles are taken within a run, runs of one boot are averaged, and
tests are made between boots. The interval of a change decides, never the change itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import by_host as hosts_of
from . import facts_difference, rows
from .by_host import ByHost, Hosts
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
    Stratum,
    describe,
    label,
)
from .conclusion import Reasons, conclude, forbidden
from .facts_difference import Difference
from .instructions import counted
from .observed import NothingError, Observed
from .per_run import Statistic
from .results import Result
from .rows import Settings
from .thresholds import Thresholds
from .verdict import interval, of_counts, order, sequential, signed_rank
from .verdict.sequential import Look

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
    "compare_all",
    "describe",
    "exit_code",
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
    thresholds: Thresholds | None = None,
    confidence: float = 0.95,
    allow: Iterable[str] = (),
    only: Sequence[str] = (),
    everything: bool = False,
    not_shown_worse: bool = False,
    accept_order: bool = False,
    sides: int = 1,
    look: Look | None = None,
    by_host: bool = False,
) -> Comparison:
    """Compare the runs of new with those of base.

    thresholds: the changes that matter. confidence: of all intervals of what decides together.
    allow: as in facts_difference.differences(). only: patterns for NAME, NAME:STATISTIC or
    NAME_orderN:STATISTIC of what is to decide. everything: show and test apart all that has a good
    direction; not together with only. not_shown_worse: say no regression if nothing is shown to be
    worse, not only if each is shown to be no worse than its threshold. accept_order: decide though
    one side was measured before the other. sides: how many are compared with base. look: the last
    of several, where boots were added until it could be told. by_host: each host measured both
    sides, and is compared with itself. Raises RefusedError for sides that must not be compared,
    CompareError where nothing can be.
    """
    try:
        hosts = hosts_of.hosts(base, new) if by_host else None
        base, new = hosts.sides() if hosts else (base, new)
        differences = _alike(base, new, tuple(allow), hosts)
        observed = ByHost(hosts) if hosts else Observed(base, new)
        wanted = observed.select(only, everything=everything)
    except NothingError as error:
        raise CompareError(str(error)) from error
    deciding = [s for s in wanted if only or observed.decides(s)]
    apart = [s for s in wanted if s not in deciding and (everything or observed.weighs(s))]
    tests = [max(1, len(group) * sides) for group in (deciding, apart)]
    settings = Settings(
        thresholds=thresholds or Thresholds(),
        alpha=1 - confidence,
        tests=tests[0],
        tests_apart=tests[1],
        confounded=order.confounded(observed.together()) and not accept_order,
        counted=counted.is_counted(base[0]),
        look=look,
        paired=by_host,
    )
    made = rows.rows(observed, wanted, set(deciding), set(apart), settings)
    reasons = _reasons(settings, observed, only, _constraints(differences, made))
    sentence, code = conclude(made, reasons, not_shown_worse=not_shown_worse)
    return Comparison(
        base=tuple(result.path for result in base),
        new=tuple(result.path for result in new),
        **_boots(observed),
        together=observed.together(),
        thresholds=str(settings.thresholds),
        confidence=confidence,
        differences=differences,
        rows=tuple(made),
        geomeans=tuple(rows.geomeans(observed, made, wanted, settings)),
        warnings=_warnings(base, new, observed, made, accepted=accept_order),
        tests=settings.tests,
        least_boots=reasons.least_boots,
        sentence=sentence,
        exit_code=code,
        counted=reasons.counted,
        paths=counted.differences(base, new),
        look=look,
        observation=reasons.observation,
        strata=_strata(hosts, deciding, settings) if hosts else (),
        forbidden=forbidden(made, reasons) if code == CANNOT_TELL else None,
    )


def _boots(observed: Observed) -> dict[str, Any]:
    """Return what is told of the boots of a comparison."""
    base, new = observed.boots
    return {
        "base_boots": base.number,
        "new_boots": new.number,
        "boots_guessed": base.guessed or new.guessed,
    }


def _reasons(
    settings: Settings, observed: Observed, only: Sequence[str], constraints: tuple[str, ...]
) -> Reasons:
    """Return what of settings and observations may forbid a verdict."""
    first, second = observed.boots
    return Reasons(
        constraints=constraints,
        missing=tuple(describe(s) for s in observed.missing(only)),
        absent=tuple(observed.absent(only)),
        runs=(len(observed.runs[0]), len(observed.runs[1])),
        confounded=settings.confounded,
        least_boots=_least_boots(settings),
        boots=(first.number, second.number),
        counted=settings.counted,
        observation="host" if settings.paired else "boot",
    )


def _strata(hosts: Hosts, deciding: Sequence[Statistic], settings: Settings) -> tuple[Stratum, ...]:
    """Return what the hosts of each kind of machine show, if there are several kinds."""
    kinds = hosts.machines
    found = []
    for kind in sorted(set(kinds)) if len(set(kinds)) > 1 else ():
        members = [host for host, of in enumerate(kinds) if of == kind]
        observed = ByHost(hosts.only(members))
        there = [statistic for statistic in deciding if statistic in observed.common]
        made = rows.rows(observed, there, set(), set(), settings)
        found.append(Stratum(kind, len(members), tuple(made)))
    return tuple(found)


def _warnings(
    base: Sequence[Result],
    new: Sequence[Result],
    observed: Observed,
    made: Sequence[Row],
    *,
    accepted: bool,
) -> tuple[str, ...]:
    """Return what makes the comparison weaker than it looks."""
    return (
        *cautions(base, new, observed, made, accepted=accepted),
        *_gaps(observed, made),
    )


def _least_boots(settings: Settings) -> int:
    """Return how many boots a side one of the figures that decide needs to have an interval."""
    if settings.counted:
        return of_counts.LEAST_BOOTS
    alpha = settings.alpha / settings.tests
    if settings.look:
        return sequential.least_boots(alpha, settings.look.most)
    return (signed_rank.least_hosts if settings.paired else interval.least_boots)(alpha)


def _alike(
    base: Sequence[Result], new: Sequence[Result], allow: Iterable[str], hosts: Hosts | None
) -> tuple[Difference, ...]:
    """Return what differs, hosts with themselves. Raises CompareError for sides that must not."""
    _check(base, new)
    if wrong := counted.mixed((*base, *new)):
        raise CompareError(wrong)
    if unknown := facts_difference.unknown(base, new, allow):
        raise CompareError(f"--allow-difference: {unknown}")
    if hosts and counted.is_counted(base[0]):
        raise CompareError("counted instructions do not depend on the host: leave out --by-host")
    if hosts:
        differences = hosts_of.differences(hosts, allow)
    else:
        differences = facts_difference.differences(base, new, allow)
    if refused := [d for d in differences if d.refused]:
        raise RefusedError(refused)
    return tuple(differences)


def _constraints(differences: Iterable[Difference], made: Iterable[Row]) -> tuple[str, ...]:
    """Return why OOM kills came that say nothing of the machine, where memory decides."""
    if not any(row.decides and row.kind == "memory" for row in made):
        return ()
    found = {text for d in differences if d.untold for text in (*d.base, *d.new)}
    return tuple(sorted(found - {"none"}))


def compare_all(
    base: Sequence[Result], news: Sequence[Sequence[Result]], **options: object
) -> list[Comparison]:
    """Compare each of several sides with base: the intervals and p hold for all together.

    options: those of compare(). Raises as compare() does.
    """
    made = [compare(base, new, sides=len(news), **options) for new in news]  # type: ignore[arg-type]
    for decides in (True, False):
        places = [
            (side, place)
            for side, comparison in enumerate(made)
            for place, row in enumerate(comparison.rows)
            if row.decides == decides and row.p is not None
        ]
        p = interval.holm([made[side].rows[place].p or 0.0 for side, place in places])
        for (side, place), corrected in zip(places, p, strict=True):
            changed = list(made[side].rows)
            changed[place] = replace(changed[place], p_corrected=corrected)
            made[side] = replace(made[side], rows=tuple(changed))
    return made


def exit_code(made: Sequence[Comparison]) -> int:
    """Return the exit code for several comparisons: a regression is one, wherever it is."""
    codes = {comparison.exit_code for comparison in made}
    return next(code for code in (REGRESSION, CANNOT_TELL, NO_REGRESSION) if code in codes)


def _check(base: Sequence[Result], new: Sequence[Result]) -> None:
    """Raise CompareError if a side is empty or a run is given twice, also as a copy."""
    if not base or not new:
        raise CompareError("each side needs at least one result")
    seen: dict[str, Path] = {}
    for result in (*base, *new):
        first = seen.setdefault(result.identity, result.path)
        if first is not result.path:
            raise CompareError(f"{result.path}: the same run as {first}; a run counts once")


def _gaps(observed: Observed, made: Sequence[Row]) -> list[str]:
    """Return what could not be compared, or not of all runs, or is known only by a bound."""
    lone = [s for s in observed.lone if observed.weighs(s)]
    lacking = [s for s in observed.incomplete() if observed.weighs(s)]
    return [
        *(
            f"{describe(row)} is below the step of a run's clock, and takes part as less than that"
            for row in made
            if row.decides and row.below
        ),
        *(f"only one side has {describe(s)}: not compared" for s in lone),
        *(f"some runs have no {describe(s)}: the others are compared" for s in lacking),
    ]

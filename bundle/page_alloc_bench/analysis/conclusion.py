# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on a comparison as a sentence and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from . import notation
from .comparison import (
    CANNOT_TELL,
    NO_REGRESSION,
    REGRESSION,
    Observation,
    Row,
    boots,
    describe,
)
from .verdict import states

_BY_TURNS = {
    "boot": "Boot the sides by turns",
    "host": "Let half of the hosts begin with the other side",
}


@dataclass(frozen=True)
class Reasons:
    """What forbids a verdict, whatever the figures are.

    constraints: why the kernel was out of memory for a run's processes only, where memory decides.
    missing: descriptions of what was to decide and only one side has. absent: names of what neither
    has. least_boots: a side, for an
    interval. boots, runs: of base and new. counted: the figures have no noise.
    """

    constraints: tuple[str, ...]
    confounded: bool
    missing: tuple[str, ...]
    least_boots: int
    boots: tuple[int, int]
    runs: tuple[int, int]
    absent: tuple[str, ...] = ()
    counted: bool = False
    observation: Observation = "boot"

    @property
    def several(self) -> str:
        """Return what they are called whose number is told: they are counted a side."""
        return "hosts" if self.observation == "host" else "boots a side"

    @property
    def sound(self) -> bool:
        """Return whether nothing does."""
        confounded = self.confounded and not self.counted
        return not (self.constraints or confounded or self.missing or self.absent)


def conclude(
    rows: Sequence[Row], reasons: Reasons, *, not_shown_worse: bool = False
) -> tuple[str, int]:
    """Return the verdict as a sentence, and the exit code.

    not_shown_worse: as in states.decide().
    """
    deciding = [row for row in rows if row.decides]
    found = [
        cast("states.State", "unknown" if row.verdict == "too few boots" else row.verdict)
        for row in deciding
    ]
    code = states.decide(found, sound=reasons.sound, not_shown_worse=not_shown_worse)
    few = [row for row in deciding if row.verdict == "too few boots"]
    if code != REGRESSION and few:
        code = CANNOT_TELL
    gains = [row for row in deciding if row.verdict in ("better", "better, size unclear")]
    better = f" Better: {_changes(gains)}." if gains else ""
    if code == REGRESSION:
        worse = [row for row in deciding if row.verdict == "worse"]
        limits = " or more, ".join(sorted({f"{row.threshold_percent:g} %" for row in worse}))
        return f"Regression of {limits} or more: {_changes(worse)}.{better}", code
    if code == NO_REGRESSION:
        if not_shown_worse:
            return f"No regression is shown.{better}", code
        return f"No regression: {_excluded(deciding)}.{better}", code
    return f"Cannot tell: {_reason(deciding, reasons)}{better}", code


def _excluded(rows: Sequence[Row]) -> str:
    """Return what is shown of all rows."""
    limits = {row.kind: f"{row.kind} {row.threshold_percent:g} %" for row in rows}
    which = f"all {len(rows)} figures are" if len(rows) > 1 else f"{describe(rows[0])} is"
    return f"{which} shown to be no worse than the threshold ({', '.join(limits.values())})"


def _reason(rows: Sequence[Row], reasons: Reasons) -> str:
    """Return why there is no verdict and what to do, as sentences."""
    return forbidden(rows, reasons) or _undecided(rows, reasons)


def forbidden(rows: Sequence[Row], reasons: Reasons) -> str | None:
    """Return what forbids a verdict whatever the figures are, and what to do, as sentences.

    None if nothing does.
    """
    deciding = [row for row in rows if row.decides]
    few = [row for row in deciding if row.verdict == "too few boots"]
    if reasons.absent or reasons.missing:
        return _lacking(reasons)
    if not deciding:
        return "nothing that decides was measured on both sides; see --metric."
    if reasons.constraints:
        return (
            "the kernel was out of memory for the runs' own processes only"
            f" ({', '.join(reasons.constraints)}), so the memory had is what a cgroup, a cpuset or"
            " a memory policy leaves. Run again outside of it; --allow-difference oom_constraint"
            " decides all the same."
        )
    if few:
        return _too_few(few, len(deciding), reasons)
    if reasons.confounded:
        return (
            "one side was measured before the other, so what drifts in a host looks like a change."
            f" {_BY_TURNS[reasons.observation]}; --accept-order decides all the same."
        )
    return None


def _lacking(reasons: Reasons) -> str:
    """Return what was to decide and is not there, and what to do."""
    if reasons.absent:
        return (
            f"neither side has {_some(reasons.absent)}. Measure it on both: page-alloc-bench help"
            " metrics says what there is."
        )
    return (
        f"only one side has {_some(reasons.missing)}. Measure it on the other too, or name by"
        " --metric what is to decide."
    )


def _undecided(rows: Sequence[Row], reasons: Reasons) -> str:
    """Return which figures leave it open, and how many boots would decide."""
    unclear = [row for row in rows if row.verdict == "worse, size unclear"]
    if unclear:
        said = f"worse, by less or more than the threshold: {_changes(unclear)}."
        return f"{said}{_needed(unclear, reasons)}"
    open_rows = [row for row in rows if row.verdict == "unknown"]
    limits = sorted({f"{row.threshold_percent:g} %" for row in open_rows})
    names = _some([describe(row) for row in open_rows])
    said = f"a regression of {' or '.join(limits)} is not excluded for {names}."
    return f"{said}{_needed(open_rows, reasons)}"


def _too_few(few: Sequence[Row], deciding: int, reasons: Reasons) -> str:
    have = min((len(row.base.values), len(row.new.values)) for row in few)
    need = f"{deciding} figures need" if deciding > 1 else "one figure needs"
    if reasons.counted:
        return (
            "one boot does not tell by how much boots differ: make "
            f"{reasons.least_boots} a side, not {have[0]} and {have[1]}."
        )
    names = "" if len(few) == deciding else f" of {_some([describe(row) for row in few])}"
    of_runs = ""
    if reasons.observation == "host":
        are = f"1 host{names} is" if have[0] == 1 else f"{have[0]} hosts{names} are"
        return f"{are} too few for an interval ({need} {reasons.least_boots})."
    if reasons.boots != reasons.runs:
        of_runs = f", of {reasons.runs[0]} and {reasons.runs[1]} runs"
    return (
        f"{have[0]} and {have[1]} boots{names}{of_runs}, are too few for an interval ({need} "
        f"{reasons.least_boots} a side)."
    )


def _needed(rows: Sequence[Row], reasons: Reasons) -> str:
    """Return how many boots would decide, as a sentence, or what else would."""
    if reasons.counted:
        return (
            " The boots of one side differ by too much for counted instructions: their functions"
            " tell where (show)."
        )
    known = [(row.needed, row) for row in rows if row.needed is not None]
    if not known:
        return f" The {reasons.observation}s show no spread to tell by how many it would take."
    few, easy = min(known, key=lambda pair: pair[0].boots)
    many, hard = max(known, key=lambda pair: pair[0].boots)
    text = " By the spread seen, a decision takes about"
    if few.boots == many.boots:
        return f"{text} {boots(few)} {reasons.several}."
    return (
        f"{text} {boots(few)} {reasons.several} for {describe(easy)} and {boots(many)} for"
        f" {describe(hard)}."
    )


def _changes(rows: Sequence[Row]) -> str:
    """Return rows and their changes as words, the surest and largest first."""
    ordered = sorted(rows, key=lambda row: row.least_change, reverse=True)
    return _some([f"{describe(row)}{_change(row)}" for row in ordered])


def _change(row: Row) -> str:
    three = row.change_percent, row.change_low, row.change_high
    if row.kind == "failures":
        return f" {notation.points(three[0])}"
    within = notation.interval(*three)
    middle = "" if row.change_percent is None else f" {notation.change(*three)}"
    return middle + (f" ({within})" if within else "")


def _some(words: Sequence[str]) -> str:
    """Return at most four of the words, and how many more there are."""
    return "; ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")

# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on a comparison as a sentence and an exit code."""

from __future__ import annotations

from collections.abc import Sequence

from . import notation
from .comparison import CANNOT_TELL, NO_REGRESSION, REGRESSION, Row, at_most, describe


def conclude(
    rows: Sequence[Row], threshold_percent: float, least: int, *, sure: bool
) -> tuple[str, int]:
    """Return the verdict as a sentence, and the exit code.

    least: runs per side that it takes for any test to be significant. sure: call it no regression
    only if the intervals exclude one.
    """
    limit = f"{threshold_percent:g} %"
    tested = [row for row in rows if row.verdict != "not tested"]
    worse = [row for row in tested if row.regression]
    better = [row for row in tested if row.verdict == "better" and row.beyond]
    too_few = [row for row in tested if row.verdict == "too few runs"]
    gains = f" Better: {_changes(better)}." if better else ""
    if worse:
        return f"Regression of {limit} or more: {_changes(worse)}.{gains}", REGRESSION
    if too_few:
        said = _too_few(too_few, len(tested), least)
        return f"Cannot tell: {said}.{_needed(too_few, limit)}{gains}", CANNOT_TELL
    unsure = [row for row in tested if _possible(row, threshold_percent)]
    if sure and unsure:
        names = _some([describe(row) for row in unsure])
        said = f"a regression of {limit} is not excluded for {names}"
        return f"Cannot tell: {said}.{_needed(unsure, limit)}{gains}", CANNOT_TELL
    return f"No regression of {limit} or more was found.{gains}", NO_REGRESSION


def _possible(row: Row, threshold_percent: float) -> bool:
    """Return whether the interval of the change holds a regression of the threshold."""
    if row.verdict == "better":
        return False
    bound = row.change_high if row.better == "lower" else row.change_low
    if bound is None:
        return len({*row.base.values, *row.new.values}) > 1
    return (bound if row.better == "lower" else -bound) >= threshold_percent


def _too_few(rows: Sequence[Row], tests: int, least: int) -> str:
    """Return why rows have no verdict; tests: how many rows were to be tested in all."""
    have = min((len(row.base.values), len(row.new.values)) for row in rows)
    runs = f"{have[0]} and {have[1]} runs"
    need = f"{tests} tests need" if tests > 1 else "a test needs"
    if len(rows) == tests:
        return f"of {runs} no test can be significant ({need} {least} per side)"
    names = _some([describe(row) for row in rows])
    return f"only {runs} have {names} ({need} {least} per side)"


def _needed(rows: Sequence[Row], limit: str) -> str:
    """Return how many runs would find a change of the limit, as a sentence."""
    known = [(row.runs_needed, row) for row in rows if row.runs_needed is not None]
    if not known:
        return " The runs show no variance to tell by how many it would take."
    (few, easy), (many, hard) = (pick(known, key=lambda pair: pair[0]) for pick in (min, max))
    found = f"{limit} is found with 80 % power by about {at_most(few)} runs per side"
    text = f" By the variance seen, {found}"
    if easy is hard:
        return f"{text}."
    return f"{text} for {describe(easy)} and {at_most(many)} for {describe(hard)}."


def _changes(rows: Sequence[Row]) -> str:
    """Return rows and their changes as words, the largest first."""

    def size(row: Row) -> float:
        return float("inf") if row.change_percent is None else abs(row.change_percent)

    ordered = sorted(rows, key=size, reverse=True)
    return _some([f"{describe(row)}{_change(row)}" for row in ordered])


def _change(row: Row) -> str:
    if row.change_percent is None:
        return ""
    return " " + notation.change(row.change_percent, row.change_low, row.change_high)


def _some(words: Sequence[str]) -> str:
    """Return at most four of the words, and how many more there are."""
    return "; ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")

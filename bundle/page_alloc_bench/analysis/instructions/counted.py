# SPDX-License-Identifier: GPL-2.0-only
"""Results that were counted in instructions, beside those that were timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from page_alloc_bench.analysis.results import Result

from . import path_length
from .path_length import Side


def is_counted(result: Result) -> bool:
    """Return whether the figures of a result are instructions, and no times."""
    return "exact" in result.run


def mixed(results: Sequence[Result]) -> str | None:
    """Return what is wrong with results that are not all of one unit; None if they are."""
    counted = [result for result in results if is_counted(result)]
    timed = [result for result in results if not is_counted(result)]
    if not counted or not timed:
        return None
    return (
        f"{counted[0].path} was counted in instructions, and {timed[0].path} measured in "
        "nanoseconds: these cannot be compared. Give results of one kind"
    )


def side(name: str, results: Sequence[Result]) -> Side:
    """Return the boots that the results are of."""
    releases = dict.fromkeys(str(result.run["kernel"]["release"]) for result in results)
    return Side(name, " and ".join(releases), [{"run": result.run} for result in results])


def differences(
    base: Sequence[Result], new: Sequence[Result]
) -> tuple[path_length.Difference, ...]:
    """Return what two sides of counted results differ by, case by case; none for timed ones."""
    if not all(map(is_counted, (*base, *new))):
        return ()
    return tuple(path_length.compare(side("base", base), side("new", new)))


def cautions(base: Sequence[Result], new: Sequence[Result]) -> Iterator[str]:
    """Yield what to know of counted runs, a sentence without a full stop each."""
    for name, results in (("base", base), ("new", new)):
        if not any(result.run.get("where") for result in results):
            yield f"{name} was not counted by function: the difference is known only as a whole"

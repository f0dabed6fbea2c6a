# SPDX-License-Identifier: GPL-2.0-only
"""What a report says first: the verdict, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from page_alloc_bench.analysis import cautions, compare, facts_difference
from page_alloc_bench.analysis.facts_difference import Difference
from page_alloc_bench.analysis.instructions import counted
from page_alloc_bench.analysis.judged import Judged, judged
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Kind, Rank

from . import axes as ax
from . import figures, memory, sides
from .sides import Side


@dataclass(frozen=True)
class Outcome:
    """sentences: the verdict first. comparison: None for one side, or if it was refused.

    judged: what a patch may harm, and how that came out. of_cases: a sentence about each case,
    where sentences do not have them.
    """

    sentences: Sequence[str]
    differences: Sequence[Difference]
    warnings: Sequence[str] = ()
    comparison: compare.Comparison | None = None
    judged: Sequence[Judged] = ()
    of_cases: Mapping[Case, str] = field(default_factory=dict)


def conclude(shown: Sequence[Side], allow: Iterable[str], **options: Any) -> Outcome:
    """Return what can be said of one side, or how two compare; options: those of compare().

    Two sides that must not be compared are shown all the same, with that as the verdict. Raises
    CompareError where nothing can be compared.
    """
    if wrong := counted.mixed([*sides.runs(shown)]):
        raise compare.CompareError(wrong)
    of_cases = {case: _describe(shown, case) for case in sides.cases(shown)}
    told = [sentence for sentence in of_cases.values() if sentence]
    base = shown[0].results
    if len(shown) == 1:
        return Outcome(told, facts_difference.differences(base, base), cautions.emulation(base))
    new = shown[1].results
    allowed = tuple(allow)
    try:
        made = compare.compare(base, new, allow=allowed, **options)
    except compare.RefusedError as error:
        names = ", ".join(difference.name for difference in error.differences)
        sentence = f"Not compared, because something else than the kernel differs: {names}."
        return Outcome([sentence, *told], facts_difference.differences(base, new, allowed))
    found = judged(made, base, new)
    return Outcome([made.sentence], made.differences, made.warnings, made, found, of_cases)


def _describe(shown: Sequence[Side], case: Case) -> str:
    """Return what a case's figures are, in a sentence; empty if there is nothing to be said."""
    if counted.is_counted(shown[0].results[0]):
        return _paths(shown, case)
    words = [
        f"{metrics.declared(metric.counts).label} at {text}"
        for metric in metrics.every().values()
        if metric.kind is Kind.RATE and (text := _arrow(shown, metric.name, "value", case))
    ]
    words += _first_latency(shown, case)
    for loss in metrics.losses():
        lost = [[d.total for d in memory.differences(side.results, loss, case)] for side in shown]
        if all(lost):
            less = " → ".join(ax.size(float(np.median(values))) for values in lost)
            words.append(loss.sentence.format(total=less))
    return f"{sides.name_of(case)}: {'; '.join(words)}." if words else ""


def _paths(shown: Sequence[Side], case: Case) -> str:
    """Return the instructions of an operation, of each pattern, in a sentence."""
    boots = [counted.side(side.key, side.results) for side in shown]
    words = []
    for path in boots[0].cases():
        if path.order == case.order and all(path in side.cases() for side in boots):
            costs = " → ".join(f"{side.cost(path).instructions:,.2f}" for side in boots)
            words.append(f"{path.pattern} {costs}")
    if not words:
        return ""
    return f"{sides.name_of(case)}, instructions of an allocation and free: {'; '.join(words)}."


def _first_latency(shown: Sequence[Side], case: Case) -> list[str]:
    """Return how long the first of the operations took that are tested by default."""
    for timed in metrics.operations().values():
        parts = [
            f"{name} {text}"
            for name in figures.LATENCY
            if (text := _arrow(shown, timed.sample.name, name, case))
        ]
        if parts and timed.sample.rank is Rank.PRIMARY:
            return [f"time of one: {', '.join(parts)}"]
    return []


def _arrow(shown: Sequence[Side], metric: str, statistic: str, case: Case) -> str:
    """Return the median of each side, base → new; nothing where a side has none."""
    values = [figures.middle(side, metric, statistic, case) for side in shown]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    unit = metrics.declared(metric).unit
    return " → ".join(figures.write(value, unit) for value in known)

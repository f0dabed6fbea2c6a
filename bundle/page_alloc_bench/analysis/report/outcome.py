# SPDX-License-Identifier: GPL-2.0-only
"""What a report says first: the verdict, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from page_alloc_bench.analysis import compare, facts_difference, results
from page_alloc_bench.analysis.facts_difference import Difference

from . import axes as ax
from . import figures, memory, sides
from .sides import Side

_LATENCIES = "kernel_page_alloc_latencies_ns"


@dataclass(frozen=True)
class Outcome:
    """sentences: the verdict first. comparison: None for one side, or if it was refused."""

    sentences: Sequence[str]
    differences: Sequence[Difference]
    warnings: Sequence[str] = ()
    comparison: compare.Comparison | None = None


def conclude(shown: Sequence[Side], threshold_percent: float, allow: Iterable[str]) -> Outcome:
    """Return what can be said of one side, or how two compare.

    Two sides that must not be compared are shown all the same, with that as the verdict. Raises
    CompareError where nothing can be compared.
    """
    told = [sentence for order in sides.orders(shown) for sentence in _describe(shown, order)]
    base = shown[0].results
    if len(shown) == 1:
        return Outcome(told, facts_difference.differences(base, base))
    new = shown[1].results
    allowed = tuple(allow)
    try:
        made = compare.compare(base, new, threshold_percent=threshold_percent, allow=allowed)
    except compare.RefusedError as error:
        names = ", ".join(difference.name for difference in error.differences)
        sentence = f"Not compared, because something else than the kernel differs: {names}."
        found = facts_difference.differences(base, new, allowed)
        return Outcome([sentence, *told], found)
    return Outcome([made.sentence, *told], made.differences, made.warnings, made)


def _describe(shown: Sequence[Side], order: int) -> list[str]:
    """Return what an order's figures are, in a sentence."""
    words = []
    rates = _arrow(shown, "kernel_page_allocs_per_second", "value", order)
    if rates:
        words.append(f"allocations at {rates}")
    parts = [
        f"{name} {text}"
        for name in ("median", "p99", "p99.9", "max")
        if (text := _arrow(shown, _LATENCIES, name, order))
    ]
    if parts:
        words.append(f"time of one: {', '.join(parts)}")
    lost = [
        [d.total for result in side.results if (d := memory.difference(result, order)) is not None]
        for side in shown
    ]
    if all(lost):
        less = " → ".join(ax.size(float(np.median(values))) for values in lost)
        words.append(f"{less} less memory is available beside the antagonist")
    return [f"Order {order}: {'; '.join(words)}."] if words else []


def _arrow(shown: Sequence[Side], metric: str, statistic: str, order: int) -> str:
    """Return the median of each side, base → new; nothing where a side has none."""
    values = [figures.middle(side, metric, statistic, order) for side in shown]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    unit, _ = results.describe(metric)
    return " → ".join(figures.write(value, unit) for value in known)

# SPDX-License-Identifier: GPL-2.0-only
"""Where the memory went that the child got when idle, and did not get beside the antagonist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.analysis.results import Result

PHASES = ("idle", "antagonized")


@dataclass(frozen=True)
class Difference:
    """A run's mean available bytes in both phases, and what the difference is made of.

    held: what the antagonist held. free, pcp: how much more the kernel left free in its zones and
    on its CPUs' lists when it killed; None where its log did not say.
    """

    idle: float
    antagonized: float
    held: float
    free: float | None
    pcp: float | None

    @property
    def total(self) -> float:
        """Return what the child did not get."""
        return self.idle - self.antagonized

    @property
    def rest(self) -> float:
        """Return what nothing of the above explains."""
        return self.total - self.held - (self.free or 0.0) - (self.pcp or 0.0)


# What a difference is made of, as people read it.
PARTS = (
    ("held", "held by the antagonist"),
    ("free", "left free in the zones"),
    ("pcp", "left free on per-CPU lists"),
    ("rest", "elsewhere"),
)


def available(results: Sequence[Result], phase: str, order: int) -> list[NDArray[np.int64]]:
    """Return each run's available bytes, one per iteration."""
    found = (result.values(f"{phase}_available_bytes", order) for result in results)
    return [values for values in found if len(values)]


def difference(result: Result, order: int) -> Difference | None:
    """Return how a run's phases differ; None if it has not measured both."""
    amounts = [result.values(f"{phase}_available_bytes", order) for phase in PHASES]
    held = result.values("antagonist_held_bytes", order)
    if not all(map(len, amounts)) or not len(held):
        return None
    return Difference(
        idle=float(amounts[0].mean()),
        antagonized=float(amounts[1].mean()),
        held=float(held.mean()),
        free=_more_left(result, "oom_free_bytes", order),
        pcp=_more_left(result, "oom_free_pcp_bytes", order),
    )


def median(differences: Sequence[Difference], part: str) -> float | None:
    """Return the median over runs of a part; None where not every run knows it."""
    values = [getattr(item, part) for item in differences]
    return None if not values or None in values else float(np.median(values))


def _more_left(result: Result, key: str, order: int) -> float | None:
    """Return the mean of the antagonized iterations less that of the idle ones."""
    means = []
    for phase in PHASES:
        values = [
            item.get(key)
            for item in result.run["iterations"]
            if item.get("phase") == phase and item.get("order") == order
        ]
        if not values or not all(isinstance(value, int) for value in values):
            return None
        means.append(float(np.mean(values)))
    return means[1] - means[0]

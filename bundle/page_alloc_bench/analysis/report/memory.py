# SPDX-License-Identifier: GPL-2.0-only
"""Where an amount went that was there without something, and is less beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Loss, declared

TOTAL, HELD, REST = "total", "held", "rest"


@dataclass(frozen=True)
class Difference:
    """A run's mean amounts without and beside, and what the difference is made of.

    parts: by key of run.iterations, how much more of it there was beside; None where the kernel's
    log did not say.
    """

    without: float
    beside: float
    held: float
    parts: dict[str, float | None]

    @property
    def total(self) -> float:
        """Return how much less there is."""
        return self.without - self.beside

    @property
    def rest(self) -> float:
        """Return what nothing explains."""
        return self.total - self.held - sum(value or 0.0 for value in self.parts.values())

    def part(self, name: str) -> float | None:
        """Return one of what rows() names; None where it is not known."""
        if name in self.parts:
            return self.parts[name]
        known: float = getattr(self, name)
        return known


def rows(loss: Loss) -> list[tuple[str, str]]:
    """Return what a difference is made of, the whole first: its part's name, and what it is."""
    _, _, total, held, rest = loss.labels
    return [(TOTAL, total), (HELD, held), *loss.parts, (REST, rest)]


def difference(result: Result, loss: Loss, case: Case) -> Difference | None:
    """Return how a run's amounts differ; None if it has not measured all of them."""
    names = (loss.without, loss.beside, loss.held)
    without, beside, held = (result.values(name, case) for name in names)
    if not len(without) or not len(beside) or not len(held):
        return None
    return Difference(
        without=float(without.mean()),
        beside=float(beside.mean()),
        held=float(held.mean()),
        parts={key: _more(result, loss, key, case) for key, _ in loss.parts},
    )


def differences(results: Sequence[Result], loss: Loss, case: Case) -> list[Difference]:
    """Return the differences of those runs that have one."""
    found = (difference(result, loss, case) for result in results)
    return [item for item in found if item is not None]


def median(found: Sequence[Difference], part: str) -> float | None:
    """Return the median over runs of a part; None where not every run knows it."""
    values = [item.part(part) for item in found]
    known = [value for value in values if value is not None]
    return float(np.median(known)) if values and len(known) == len(values) else None


def _more(result: Result, loss: Loss, key: str, case: Case) -> float | None:
    """Return the mean of the iterations beside it less that of those without."""
    means = []
    for name in (loss.without, loss.beside):
        values = [
            item.get(key)
            for item in result.run["iterations"]
            if item.get("phase") == declared(name).phase and item.get("order") == case.order
        ]
        if not values or not all(isinstance(value, int) for value in values):
            return None
        means.append(float(np.mean(values)))
    return means[1] - means[0]

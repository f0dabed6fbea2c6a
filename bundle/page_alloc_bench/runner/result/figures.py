# SPDX-License-Identifier: GPL-2.0-only
"""The figures of a metric in one case of a result: the same in every output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import clock_step, quantile
from .case import Case
from .clock_step import Hidden
from .metrics import Kind, declared, operations
from .quantile import PERCENTILES, Distribution, Get

NAMES = ("min", "mean", "median", "p95", "p99", "p99.9", "max")


@dataclass(frozen=True)
class Figure:
    """A figure in the metric's unit.

    known: whether it is that; if not, the clock was too coarse, and it is known only that it is
    less than bound, or, where that is None, not even that.
    """

    value: float
    known: bool = True
    bound: int | None = None

    @property
    def text(self) -> str:
        """Return the figure with all digits that matter, or what it is known to be less than."""
        if self.known:
            return f"{self.value:.12g}"
        return "<?" if self.bound is None else f"<{self.bound}"


@dataclass(frozen=True)
class Figures:
    """What can be told of a metric in a case. hidden: by the clock; None if it is not a latency."""

    distribution: Distribution
    hidden: Hidden | None = None

    @property
    def size(self) -> int:
        """Return how many values, or timed operations, the figures are of."""
        return self.distribution.size

    def get(self, name: str, beyond: int = 1) -> Figure | None:
        """Return one of NAMES; None where there are too few values for it.

        beyond: how many values are to be beyond a percentile.
        """
        if not self.size or not quantile.enough(name, self.size, beyond):
            return None
        if name == "mean":
            mean = self.distribution.mean
            return None if mean is None else self._figure(mean, self._hides_mean())
        value = self.distribution.figure(name)
        return self._figure(value, self._hides(name, value))

    def all(self, names: Sequence[str] = NAMES) -> dict[str, Figure]:
        """Return those of the figures that there are enough values for."""
        found = {name: self.get(name) for name in names}
        return {name: figure for name, figure in found.items() if figure is not None}

    def _figure(self, value: float, hidden: bool) -> Figure:
        bound = None if self.hidden is None else self.hidden.step_ns
        return Figure(value, not hidden, bound if hidden else None)

    def _hides(self, name: str, value: float) -> bool:
        if self.hidden is None:
            return False
        if name in PERCENTILES and self.hidden.timed:
            return self.hidden.hides_part(PERCENTILES[name])
        return self.hidden.hides(value)

    def _hides_mean(self) -> bool:
        return self.hidden is not None and self.hidden.hides_mean(self.size)


def of(get: Get, run: dict[str, Any], name: str, case: Case | int) -> Figures:
    """Return the figures of a metric of a result.

    get: returns a metric's values in a case, none if it was not measured. run: the object under
    "run". Those of a sample are of all operations that were timed. Raises UndeclaredError.
    """
    metric = declared(name)
    if metric.kind is not Kind.SAMPLE:
        return Figures(quantile.of_values(get(name, case)))
    timed = operations()[metric.operation]
    return Figures(quantile.timed(get, timed, case), clock_step.of(get, run, timed, case))

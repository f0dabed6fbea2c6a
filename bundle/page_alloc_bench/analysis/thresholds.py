# SPDX-License-Identifier: GPL-2.0-only
"""Which change matters, by the kind of figure: memory varies by less than the tail of a latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from page_alloc_bench.runner.result.metrics import Kind, declared

from .instructions.path_length import LAYOUT, OFF_LISTS
from .per_run import Statistic

# In percent: of the figure, and for failures of the attempts.
DEFAULTS: Mapping[str, float] = MappingProxyType(
    {
        "memory": 2.0,
        "rate": 5.0,
        "median": 5.0,
        "tail": 25.0,
        "instructions": 0.1,
        "failures": 0.1,
        "other": 5.0,
    }
)
# The kinds whose figures decide; the others are shown and tested apart.
DECIDING = ("memory", "rate", "median", "instructions", "failures")


class ThresholdError(ValueError):
    """No threshold can be read from the text; the message is one line."""


@dataclass(frozen=True)
class Thresholds:
    """percent: the change that matters, by the kind of figure."""

    percent: Mapping[str, float] = field(default_factory=lambda: DEFAULTS)

    def of(self, statistic: Statistic) -> float:
        """Return the change of a statistic that matters, in percent."""
        kind = kind_of(statistic)
        if kind == "instructions" and statistic.order in OFF_LISTS:
            return max(self.percent[kind], 100 * LAYOUT)
        return self.percent[kind]

    def __str__(self) -> str:
        """Return them as parse() reads them."""
        return ",".join(f"{kind}={percent:g}%" for kind, percent in self.percent.items())


def kind_of(statistic: Statistic) -> str:
    """Return the kind of a figure, which is one of DEFAULTS."""
    metric = declared(statistic.metric)
    if metric.kind is Kind.SAMPLE:
        return "median" if statistic.statistic == "median" else "tail"
    if metric.kind is Kind.RATE:
        return "rate"
    if metric.kind is Kind.SHARE and metric.name in metric.of:  # of attempts, that and the others
        return "failures"
    return {"bytes": "memory", "instructions": "instructions"}.get(metric.unit, "other")


def parse(text: str) -> Thresholds:
    """Return the thresholds in a text: "3%" for all, or such as "memory=2%,tail=25%" for some.

    One for all leaves that of failures as it is, for it is of another thing. Raises ThresholdError.
    """
    percent = dict(DEFAULTS)
    for part in text.split(","):
        kind, equals, number = part.strip().rpartition("=")
        if not equals:
            percent.update({k: _percent(number) for k in percent if k != "failures"})
        elif kind in DEFAULTS:
            percent[kind] = _percent(number)
        else:
            raise ThresholdError(f"there is no kind of figure {kind!r}: {', '.join(DEFAULTS)}")
    return Thresholds(percent)


def _percent(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0 < number < math.inf:
        raise ThresholdError(f"{text!r} is not a percentage above 0, such as 2%")
    return number

# SPDX-License-Identifier: GPL-2.0-only
"""What the summary's table cannot say: rates, counts, and the memory that is unaccounted for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import clock_step, columns, units
from .case import Case
from .document import Document
from .metrics import Kind, Loss, Metric, every, losses
from .quantile import variance

_ENOUGH = 3  # values, for their variance to be worth anything


def of(document: Document, case: Case, width: int) -> list[str]:
    """Return the remarks on one case, in lines of at most so many columns."""
    lines = [text for loss in losses() if (text := _loss(document, loss, case))]
    said: dict[str, list[str]] = {}
    for metric in every().values():
        if text := _remark(document, metric, case):
            said.setdefault(metric.section, []).append(text)
    lines += ["; ".join(texts) for texts in said.values()]
    return [row for line in lines for row in columns.wrap(line, width, "    ", first="  ")]


def _remark(document: Document, metric: Metric, case: Case) -> str:
    """Return what is said of one metric, as it is declared; nothing if that is not known."""
    values = document.get(metric.name, case)
    if not metric.remark or not values or not (metric.remark_of_none or any(values)):
        return ""
    value, cpus = sum(values), _cpus(document, case)
    whole = sum(sum(document.get(name, case)) for name in metric.of)
    text = metric.remark.format(
        value=value,
        whole=whole,
        share=100 * value / whole if whole else 0.0,
        cpus=cpus,
        per_cpu=value / cpus,
    )
    return text + (_clock_cost(document.run) if metric.kind is Kind.TIMED else "")


def _cpus(document: Document, case: Case) -> int:
    """Return how many CPUs worked."""
    found = (len(document.get(m.name, case)) for m in every().values() if m.per == "cpu")
    return max(found, default=0) or len(document.run.get("cpus", ())) or 1


def _clock_cost(run: dict[str, Any]) -> str:
    costs = clock_step.clock_costs_ns(run)
    return f"; a clock read costs {min(costs):,.1f}-{max(costs):,.1f} ns" if costs else ""


def _loss(document: Document, loss: Loss, case: Case) -> str:
    """Return what is in none of the amounts, of the means, and how sure that is."""
    names = (loss.without, loss.beside)
    better = tuple(every()[name].stand_in_for for name in names)
    # Of each iteration, or of none: kinds are not mixed.
    reached = all(better) and all(
        len(document.get(name, case)) == len(document.get(other, case))
        for name, other in zip(names, better)
    )
    without, beside, held = (
        document.get(name, case) for name in (*(better if reached else names), loss.held)
    )
    if not without or not beside or not held:
        return ""
    # What is held is missing from what is had beside it: in an iteration the two go together.
    both = [a + h for a, h in zip(beside, held)] if len(beside) == len(held) else []
    lost = _mean(without) - _mean(beside) - _mean(held)
    text = f"{loss.of[reached]}: {loss.text} = {units.mib(lost)}"
    if min(len(without), len(both)) < _ENOUGH:
        return f"{text} MiB (means; too few iterations to tell how sure that is)"
    error = 2 * math.sqrt(sum(variance(values) / len(values) for values in (without, both)))
    noise = ": within the difference between iterations" if abs(lost) <= error else ""
    return f"{text} +/- {units.mib(error)} MiB (means, two standard errors){noise}"


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)

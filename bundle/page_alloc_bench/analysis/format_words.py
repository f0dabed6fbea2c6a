# SPDX-License-Identifier: GPL-2.0-only
"""Numbers and facts of a comparison as words, the same in every format for people."""

from __future__ import annotations

from collections.abc import Sequence

from page_alloc_bench.runner.result import units

from . import notation
from .comparison import Comparison, Geomean, Row, Side
from .facts_difference import Difference

_ABOVE_ANY = 99.5  # percent: an interval so wide needs no number


def quantity(value: float, unit: str) -> str:
    """Return a value with four digits and its unit, such as "843.7MiB"."""
    return units.scaled(value, units.of(unit), units.four, nearly=1.0)


def median(side: Side, unit: str) -> str:
    """Return the median of a side, such as "843.7MiB", or what it is known to be less than."""
    return ("<" if side.below else "") + quantity(side.median, unit)


def spread(side: Side) -> str:
    """Return the interval of a median as ± percent, its longer half; "±?" where there is none.

    Empty where the median itself is not known.
    """
    if side.below:
        return ""
    if side.low is None or side.high is None:
        return "±?"
    half = max(side.high - side.median, side.median - side.low)
    if not half:
        return "±0%"
    percent = 100 * half / side.median if side.median else float("inf")
    if percent > _ABOVE_ANY:
        return "±>99%"
    return f"±{percent:.0f}%" if percent >= 0.5 else "±<1%"


def change(row: Row | Geomean) -> str:
    """Return a change, such as "-1.2%"; a large one as a factor, such as "x46.5"."""
    return notation.change(row.change_percent, row.change_low, row.change_high)


def interval(row: Row | Geomean) -> str:
    """Return the interval of a change, such as "-1.6..+1.5"; empty if there is none."""
    return notation.interval(row.change_percent, row.change_low, row.change_high)


def verdict(row: Row, *, short: bool) -> str:
    """Return the verdict; in parentheses if the change is real but below the threshold."""
    if row.verdict in ("better", "worse"):
        return row.verdict if row.beyond else f"({row.verdict})"
    return {"too few runs": "?", "not tested": "-"}.get(row.verdict, "~") if short else row.verdict


def p_value(p: float | None) -> str:
    """Return a p-value with two digits."""
    if p is None:
        return ""
    return f"{p:.2g}" if p >= 0.0001 else "<0.0001"


def difference(item: Difference) -> str:
    """Return a fact that differs, with what each side has."""
    base, new = item.base, item.new
    if item.name == "kernel.cmdline" and len(base) == len(new) == 1:
        words = base[0].split(), new[0].split()
        base = (_lone(words[0], words[1]),)
        new = (_lone(words[1], words[0]),)
    if set(base) == set(new):
        text = f"{item.name}: {_values(base)} in either side"
    else:
        text = f"{item.name}: {_values(base)} -> {_values(new)}"
    return text + (" (allowed)" if item.allowed else "")


def _lone(words: Sequence[str], others: Sequence[str]) -> str:
    return " ".join(word for word in words if word not in others) or "(nothing)"


def _values(values: Sequence[str]) -> str:
    shown = [value if len(value) <= 200 else value[:197] + "..." for value in values[:3]]
    return " or ".join(shown) + (" or ..." if len(values) > 3 else "")


def differences(comparison: Comparison) -> list[str]:
    """Return a line for each fact that differs; those that are not what is meant come first."""
    heads = {"invalidating": "differs", "other": "differs", "meant": "compared"}
    lines = [f"{heads[d.kind]}: {difference(d)}" for d in comparison.differences]
    if not any(d.kind == "meant" for d in comparison.differences):
        lines.append("compared: the same kernel, booted the same way")
    return lines


def legend(comparison: Comparison) -> str:
    """Return how to read the figures."""
    confidence = f"{100 * comparison.confidence:g} %"
    alpha = f"{100 * (1 - comparison.confidence):.3g} %"
    return (
        f"Median of runs ± exact {confidence} interval (? if too few runs have one); change of "
        f"the medians in percent with its bootstrap interval (seed {comparison.seed}). Verdicts: "
        f"Mann-Whitney U, Holm-corrected over {comparison.tests} tests at {alpha}; ~ no evidence, "
        f"() significant but below {comparison.threshold_percent:g} %, ? too few runs, "
        "- not tested."
    )


def runs(comparison: Comparison) -> str:
    """Return how many runs each side has."""
    return f"base {_runs(len(comparison.base))}, new {_runs(len(comparison.new))}"


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"

# SPDX-License-Identifier: GPL-2.0-only
"""Numbers and facts of a comparison as words, the same in every format for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from page_alloc_bench.runner.result import units

from . import amounts, notation
from .comparison import Comparison, Geomean, Row, Side, describe
from .facts_difference import Difference

_CHANGE = {
    "boot": "change, less a trend over time that both sides share, by Hodges and Lehmann with its "
    "interval",
    "host": "change of a host by Hodges and Lehmann with its exact interval",
}
_ABOVE_ANY = 99.5  # percent: an interval so wide needs no number


def quantity(value: float, unit: str) -> str:
    """Return a value with four digits and its unit, such as "843.7MiB"."""
    return amounts.scaled(value, units.of(unit), units.four, nearly=1.0)


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
    if isinstance(row, Row) and row.kind == "failures":
        return notation.points(row.change_percent).removesuffix("ppm")
    if isinstance(row, Row) and row.kind == "instructions":
        return notation.fine(row.change_percent) + "%"
    return notation.change(row.change_percent, row.change_low, row.change_high)


def interval(row: Row | Geomean) -> str:
    """Return the interval of a change, such as "-1.6..+1.5"; empty if there is none."""
    if isinstance(row, Row) and row.kind == "failures":
        if row.change_low is None or row.change_high is None:
            return ""
        return f"{row.change_low * 1e4:+.3g}..{row.change_high * 1e4:+.3g}"
    if isinstance(row, Row) and row.kind == "instructions":
        ends = row.change_low, row.change_high
        return "" if None in ends else "..".join(map(notation.fine, ends))
    return notation.interval(row.change_percent, row.change_low, row.change_high)


_SHORT = {
    "worse, size unclear": "worse?",
    "better, size unclear": "better?",
    "unknown": "~",
    "too few boots": "?",
    "not tested": "-",
}


def verdict(row: Row, *, short: bool) -> str:
    """Return the verdict; short: in eight columns, as the legend explains."""
    return _SHORT.get(row.verdict, row.verdict) if short else row.verdict


def verdicts(found: Iterable[str]) -> str:
    """Return how many figures have each verdict, such as "3 better, 2 better (size unclear)"."""
    counted = Counter(found).most_common()
    return ", ".join(f"{number} {_inserted(name)}" for name, number in counted)


def _inserted(name: str) -> str:
    """Return a verdict as a part of a list, whose commas part its members."""
    first, _, rest = name.partition(", ")
    return f"{first} ({rest})" if rest else first


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


def thresholds(comparison: Comparison) -> str:
    """Return the threshold of each kind of figure that decides, such as "memory 2 %, rate 5 %"."""
    found = {row.kind: row.threshold_percent for row in comparison.rows if row.decides}
    return ", ".join(f"{kind} {percent:g} %" for kind, percent in found.items())


def legend(comparison: Comparison, *, short: bool = True) -> str:
    """Return how to read the figures; short: with verdicts as verdict() shortens them."""
    unclear, unknown, few, untested = _signs(comparison.observation, short=short)
    if comparison.counted:
        return (
            "Counted under emulation, not timed: no noise, so no interval of chance. Figures are "
            "of 1000 operations, each an allocation and its free. Median of "
            "boots, ± how far the others are; change, and what it is at least and at most, boot by "
            f"boot. Worse, better: by the threshold{_limits(comparison)} or more; {unclear}: "
            f"that it is, but by less or more; same: by less; {unknown}: the boots of one side "
            f"differ by too much; {few}; {untested}. The length of the path, not cache "
            "misses or locks."
        )
    confidence = f"{100 * comparison.confidence:g} %"
    about = "±" if short else "with"
    return (
        f"Median of {comparison.observation}s {about} its exact {confidence} interval; "
        f"{_CHANGE[comparison.observation]}. "
        f"{_hold(comparison, confidence)}. Verdicts "
        "say what the interval shows: worse, better: by the threshold"
        f"{_limits(comparison)} or more; {unclear}: that it is, but by less or more; "
        "same: a change below the threshold, if any; no worse: no regression of the threshold; "
        f'{unknown}: too wide to tell, which is not "same"; '
        f"{few}; {untested}."
    )


def _signs(observation: str, *, short: bool) -> tuple[str, str, str, str]:
    """Return how an unclear size, what is unknown, too few and what is not tested are written."""
    few = f"too few {observation}s"
    if short:
        return "worse?, better?", "~", f"?: {few}", "-: not tested"
    unclear = "worse, or better, size unclear"
    return unclear, "unknown", f"{few}: there is no interval", "not tested: only shown"


def _limits(comparison: Comparison) -> str:
    limits = thresholds(comparison)
    return f" ({limits})" if limits else ""


def _hold(comparison: Comparison, confidence: str) -> str:
    """Return how many figures decide, and how sure their intervals are."""
    if not comparison.deciding:
        return "No figure decides"
    tests = comparison.tests
    decide = f"{tests} {'figure decides' if tests == 1 else 'figures decide'}"
    if comparison.look is None:
        return f"{decide}: all of their intervals hold together with {confidence}"
    return (
        f"{decide}: their intervals hold together with {confidence} at all looks of the stop rule, "
        f"this is number {len(comparison.look.made)}, but for the end for the worse, of which each "
        f"holds with {confidence}: that nothing is worse rests on all of them"
    )


def strata(comparison: Comparison) -> list[str]:
    """Return the changes of each kind of machine, each with the interval of one test."""
    lines = []
    for stratum in comparison.strata:
        lines.append(f"{stratum.hosts} host(s) of: {stratum.machine}")
        for row in stratum.rows:
            inside = interval(row)
            lines.append(
                f"- {describe(row)}: {change(row)} ({inside or 'too few for an interval'})"
            )
    return lines


def boots(comparison: Comparison) -> str:
    """Return how many boots each side has, and of how many runs if these are more."""
    sides = (
        ("base", comparison.base_boots, len(comparison.base)),
        ("new", comparison.new_boots, len(comparison.new)),
    )
    return ", ".join(
        f"{name} {_many(number, comparison.observation)}"
        + (f" ({_many(runs, 'run')})" if runs != number else "")
        for name, number, runs in sides
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

# SPDX-License-Identifier: GPL-2.0-only
"""The changes of a comparison with their intervals, against the thresholds: a forest plot."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from page_alloc_bench.analysis import compare, format_words, notation
from page_alloc_bench.analysis.compare import Comparison, Row
from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.runner.result.case import Case

from .picture import Picture

_LINEAR = 5.0  # percent, up to which the axis is linear; beyond, each factor of ten takes as much
_TICKS = (-99, -50, -20, -5, 0, 5, 20, 100, 900, 9900, 99900)
_HALF = 0.42  # of a row
_COLOURS = {"worse": "new", "better": "third"}


def changes(made: Comparison) -> list[Picture]:
    """Return the changes of what decides; none where no change is known."""
    rows = [
        row for row in made.deciding if row.kind != "failures" and row.change_percent is not None
    ]
    if not rows:
        return []
    return [
        Picture(
            "changes",
            "changes",
            Case(0),
            f"Of {len(made.deciding)} figures that decide, "
            f"{format_words.verdicts(row.verdict for row in made.deciding)}",
            f"A marker is the change from base to new, a line its interval; together they hold with"
            f" {100 * made.confidence:g} %. The grey ground is what is smaller than the threshold;"
            " its thick edge is where worse begins. The axis is logarithmic beyond"
            f" ±{_LINEAR:g} %. An arrow is an end that nothing bounds."
            + (" Failures have no ratio: they are in the table." * _has_failures(made)),
            lambda palette, title: _draw(rows, palette, title),
            part="Changes against the thresholds",
        )
    ]


def _has_failures(made: Comparison) -> bool:
    return any(row.kind == "failures" for row in made.deciding)


def _draw(rows: Sequence[Row], palette: Palette, title: str | None) -> Figure:
    figure, axes = ax.figure(0.75 + 0.27 * len(rows), title)
    ends = [
        end for row in rows for end in (row.change_low, row.change_percent, row.change_high)
        if end is not None
    ]  # fmt: skip
    limits = [row.threshold_percent for row in rows]
    low = _place(max(-99.9, min([*ends, -max(limits)]))) - 0.4
    high = _place(max([*ends, *limits])) + 0.4
    for number, row in enumerate(rows):
        _row(axes, number, row, palette, (low, high))
    axes.axvline(0, color=palette.ink, lw=0.8)
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [compare.describe(row) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    places = {_place(tick): tick for tick in _TICKS if low <= _place(tick) <= high}
    axes.xaxis.set_major_locator(FixedLocator(_apart(list(places), (high - low) / 6)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _write(places, at)))
    axes.set_xlabel("change, new against base")
    ax.head_without_legend(figure, title)
    return figure


def _row(axes: Axes, number: int, row: Row, palette: Palette, limits: tuple[float, float]) -> None:
    reach = row.threshold_percent
    box = _place(-reach), _place(reach)
    axes.fill_betweenx([number - _HALF, number + _HALF], *box, color=palette.faint, alpha=0.6, lw=0)
    worse = box[1] if row.better == "lower" else box[0]
    axes.plot([worse] * 2, [number - _HALF, number + _HALF], color=palette.new, lw=2)
    colour = getattr(palette, _COLOURS.get(row.verdict, "ink"))
    for end, bound, arrow in ((row.change_low, limits[0], "<"), (row.change_high, limits[1], ">")):
        known = end is not None and end > -100
        to = _place(end) if known and end is not None else bound
        middle = _place(row.change_percent or 0.0)
        axes.plot([middle, to], [number] * 2, color=colour, lw=1.8, solid_capstyle="butt")
        if not known:
            axes.plot([bound], [number], marker=arrow, ms=6, color=colour, clip_on=False)
    axes.plot(
        [_place(row.change_percent or 0.0)], [number], marker="o", ms=6, color=colour,
        gid=row.verdict.replace(" ", "-"),
    )  # fmt: skip


def _place(percent: float) -> float:
    """Return where a change is on the axis: its logarithm, linear near zero."""
    log = 100 * math.log1p(max(percent, -99.9) / 100)
    return math.copysign(math.asinh(abs(log) / _LINEAR), log)


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Return places that are at least so far from each other, zero among them."""
    kept = [0.0]
    for side in (1, -1):
        last = 0.0
        for place in sorted((p for p in places if p * side > 0), key=abs):
            if abs(place - last) >= least:
                kept.append(place)
                last = place
    return sorted(kept)


def _write(places: dict[float, int], at: float) -> str:
    near = min(places, key=lambda place: abs(place - at))
    return "0" if not places[near] else notation.change(places[near]).replace(".0", "")

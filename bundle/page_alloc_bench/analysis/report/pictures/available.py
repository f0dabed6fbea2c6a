# SPDX-License-Identifier: GPL-2.0-only
"""What was had in each iteration, and what something else made it lose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import memory, spread
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result import metrics, units
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Kind, Loss, Metric

from .picture import LINES, MARKERS, Picture

_MOST_TICKS = 10
# Series: a side, a metric, and its values in each of the side's runs.
Series = list[tuple[Side, Metric, list[NDArray[np.int64]]]]


def available(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return what was had in each iteration, and what the difference of two amounts is."""
    made = []
    pictured = [
        m for m in metrics.every().values()
        if m.section and m.per == "iteration" and m.kind is Kind.AMOUNT
    ]  # fmt: skip
    for section in dict.fromkeys(metric.section for metric in pictured):
        series: Series = []
        for side in sides:
            for metric in (m for m in pictured if m.section == section):
                found = [result.values(metric.name, case) for result in side.results]
                series.append((side, metric, [values for values in found if len(values)]))
        if any(runs for _, _, runs in series):
            made.append(_iterations(series, case))
    for loss in metrics.losses():
        pairs = [(side, memory.differences(side.results, loss, case)) for side in sides]
        pairs = [(side, differences) for side, differences in pairs if differences]
        if pairs:
            made.append(_difference(pairs, loss, case))
    return made


def _iterations(series: Series, case: Case) -> Picture:
    first = series[0][1]
    longest = max(len(run) for _, _, runs in series for run in runs)

    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.6, title)
        for number, (side, metric, runs) in enumerate(series):
            if not runs:
                continue
            length = max(map(len, runs))
            columns = [[int(run[i]) for run in runs if i < len(run)] for i in range(length)]
            middle = np.array([np.median(column) for column in columns])
            ends = np.array([spread.ends(column) for column in columns]).T
            reach = np.maximum([middle - ends[0], ends[1] - middle], 0)
            offset = (number - (len(series) - 1) / 2) * 0.09
            colour = getattr(palette, side.key)
            filled = metric.phase == first.phase
            axes.errorbar(
                np.arange(1, length + 1) + offset, middle, yerr=reach if len(runs) > 1 else None,
                color=colour, ls=LINES[side.key] if filled else (0, (1, 1.5)), lw=1.0,
                elinewidth=1.2, capsize=2, marker=MARKERS[side.key], ms=5.5,
                mfc=colour if filled else palette.paper,
                label=f"{side.label}: {metric.phase or metric.label}",
            )  # fmt: skip
        largest = max(int(run.max()) for _, _, runs in series for run in runs)
        axes.set_xlim(0.5, longest + 0.5)
        axes.set_xticks(range(1, longest + 1, -(-longest // _MOST_TICKS)))
        axes.margins(y=0.08)
        ax.value_axis(axes.yaxis, largest, first.unit)
        ax.mark_cut(axes, palette)
        axes.set_xlabel("iteration")
        axes.set_ylabel(first.family)
        ax.head(figure, title)
        return figure

    several = any(len(runs) > 1 for _, _, runs in series)
    return Picture(
        f"{first.section}-{id_of(case)}",
        first.section,
        case,
        f"{name_of(case)}: {first.family} {', '.join(_middles(series))}",
        f"{first.family.capitalize()} per iteration. "
        + (f"Points are medians of the runs, bars {spread.WORDS}. " if several else "")
        + "The axis does not begin at zero where two strokes cut it.",
        draw,
        part=first.family.capitalize(),
    )


def _middles(series: Series) -> list[str]:
    """Return the median of each metric, base → new."""
    words = []
    for metric in dict.fromkeys(metric for _, metric, _ in series):
        middles = [
            ax.quantity(float(np.median([np.median(run) for run in runs])), metric.unit)
            for _, of, runs in series
            if of is metric and runs
        ]
        if middles:
            words.append(f"{' → '.join(middles)} {metric.phase or metric.label}")
    return words


Differences = Sequence[tuple[Side, list[memory.Difference]]]


def _difference(differences: Differences, loss: Loss, case: Case) -> Picture:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(1.5 + 0.62 * len(differences) + 0.5, title)
        rows = memory.rows(loss)
        most = max(
            abs(d.part(part) or 0.0) for _, found in differences for d in found
            for part, _ in rows
        )  # fmt: skip
        name, factor = units.best(most, units.BYTES)
        height = 0.8 / len(differences)
        for number, (side, found) in enumerate(differences):
            for row, (part, _) in enumerate(rows):
                place = row + (number - (len(differences) - 1) / 2) * height
                label = side.legend if row == 0 else ""
                at = (place, height, factor)
                _bar(axes, palette, found, part, at, key=side.key, label=label)
        axes.axvline(0, color=palette.ink, lw=0.8)
        axes.set_yticks(range(len(rows)), [label for _, label in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
        axes.margins(x=0.16)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"mean of a run's iterations, {name}")
        ax.head(figure, title)
        return figure

    total = [float(np.median([d.total for d in found])) for _, found in differences]
    held = [float(np.median([d.held for d in found])) for _, found in differences]
    first = metrics.declared(loss.without)
    return Picture(
        f"difference-{id_of(case)}",
        first.section,
        case,
        f"{name_of(case)}: {loss.title.format(total=_arrow(total), held=_arrow(held))}",
        f"{loss.explanation} Bars are medians of the runs"
        + (f", lines {spread.WORDS}." if any(len(found) > 1 for _, found in differences) else "."),
        draw,
        part=first.family.capitalize(),
    )


def _bar(
    axes: Axes,
    palette: Palette,
    found: Sequence[memory.Difference],
    part: str,
    at: tuple[float, float, float],
    *,
    key: str,
    label: str,
) -> None:
    """Draw the median of one part of a side's differences, with its range and its number.

    at: the place of the bar, its height, and the size of the axis's unit. key: of the side.
    """
    place, height, factor = at
    middle = memory.median(found, part)
    if middle is None:
        axes.text(0, place, " not recorded", va="center", fontsize=ax.FONT)
        return
    ends = spread.ends([(d.part(part) or 0.0) / factor for d in found])
    axes.barh(
        place, middle / factor, height * 0.86, color=getattr(palette, key),
        alpha=1.0 if part == memory.TOTAL else 0.6, hatch="" if key == "base" else "////",
        edgecolor=palette.paper, lw=0, label=label or None,
    )  # fmt: skip
    if len(found) > 1:
        axes.plot(ends, [place] * 2, color=palette.ink, lw=1)
    axes.annotate(
        f"{middle / factor:,.1f}", (max(float(ends[1]), 0.0), place), (4, 0), va="center",
        textcoords="offset points", fontsize=ax.FONT,
    )  # fmt: skip


def _arrow(values: Sequence[float]) -> str:
    return " → ".join(map(ax.size, values))

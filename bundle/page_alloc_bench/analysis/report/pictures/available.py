# SPDX-License-Identifier: GPL-2.0-only
"""What user space got, and what the antagonist made it lose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import memory
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side

from .picture import LINES, MARKERS, Picture


def available(sides: Sequence[Side], order: int) -> list[Picture]:
    """Return what the child got in each iteration, and what the two phases' difference is."""
    amounts = {
        (side.key, phase): memory.available(side.results, phase, order)
        for side in sides
        for phase in memory.PHASES
    }
    made = []
    if any(amounts.values()):
        made.append(_iterations(sides, amounts, order))
    differences = [
        (side, [d for r in side.results if (d := memory.difference(r, order)) is not None])
        for side in sides
    ]
    differences = [(side, found) for side, found in differences if found]
    if differences:
        made.append(_difference(differences, order))
    return made


def _iterations(
    sides: Sequence[Side],
    amounts: dict[tuple[str, str], list[np.ndarray[tuple[int], np.dtype[np.int64]]]],
    order: int,
) -> Picture:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.3, title)
        longest = 1
        series = [(side, phase) for side in sides for phase in memory.PHASES]
        for number, (side, phase) in enumerate(series):
            runs = amounts[side.key, phase]
            if not runs:
                continue
            length = max(map(len, runs))
            longest = max(longest, length)
            columns = [[int(run[i]) for run in runs if i < len(run)] for i in range(length)]
            middle = np.array([np.median(column) for column in columns])
            spread = np.array([(m - min(c), max(c) - m) for m, c in zip(middle, columns)], float).T
            offset = (number - (len(series) - 1) / 2) * 0.09
            colour = getattr(palette, side.key)
            filled = phase == "idle"
            axes.errorbar(
                np.arange(1, length + 1) + offset, middle, yerr=spread if len(runs) > 1 else None,
                color=colour, ls=LINES[side.key] if filled else (0, (1, 1.5)), lw=1.0,
                elinewidth=1.2, capsize=2, marker=MARKERS[side.key], ms=5.5,
                mfc=colour if filled else palette.paper, label=f"{side.label}: {phase}",
            )  # fmt: skip
        largest = max(int(run.max()) for runs in amounts.values() for run in runs)
        axes.set_xlim(0.5, longest + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(min(longest, 10), integer=True))
        axes.margins(y=0.08)
        ax.bytes_axis(axes.yaxis, largest)
        axes.set_xlabel("iteration")
        axes.set_ylabel("memory that the child got")
        ax.head(figure, title)
        return figure

    words = []
    for phase in memory.PHASES:
        middles = [
            ax.size(float(np.median([np.median(run) for run in amounts[side.key, phase]])))
            for side in sides
            if amounts[side.key, phase]
        ]
        if middles:
            words.append(f"{' → '.join(middles)} {phase}")
    several = any(len(runs) > 1 for runs in amounts.values())
    return Picture(
        f"available-order{order}",
        "memory",
        order,
        f"Order {order}: available memory {', '.join(words)}",
        "Available memory per iteration. "
        + ("Points are the median of the runs, bars their range. " if several else "")
        + "The axis does not begin at zero.",
        draw,
    )


def _difference(differences: Sequence[tuple[Side, list[memory.Difference]]], order: int) -> Picture:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(1.5 + 0.62 * len(differences) + 0.5, title)
        rows = [("total", "less than idle, in all"), *memory.PARTS]
        most = max(
            abs(getattr(d, part) or 0.0) for _, found in differences for d in found
            for part, _ in rows
        )  # fmt: skip
        name, factor = ax.unit_of_bytes(most)
        height = 0.8 / len(differences)
        for number, (side, found) in enumerate(differences):
            colour = getattr(palette, side.key)
            for row, (part, _) in enumerate(rows):
                place = row + (number - (len(differences) - 1) / 2) * height
                middle = memory.median(found, part)
                if middle is None:
                    axes.text(0, place, " not recorded", va="center", fontsize=8.5)
                    continue
                values = [getattr(d, part) / factor for d in found]
                axes.barh(
                    place, middle / factor, height * 0.86, color=colour,
                    alpha=1.0 if part == "total" else 0.6,
                    hatch="" if side.key == "base" else "////", edgecolor=palette.paper, lw=0,
                    label=side.legend if row == 0 else None,
                )  # fmt: skip
                if len(found) > 1:
                    axes.plot([min(values), max(values)], [place] * 2, color=palette.ink, lw=1)
                axes.annotate(
                    f"{middle / factor:,.1f}", (max(*values, 0.0) if len(values) > 1 else
                    max(values[0], 0.0), place), (4, 0), textcoords="offset points",
                    va="center", fontsize=8.5,
                )  # fmt: skip
        axes.axvline(0, color=palette.ink, lw=0.8)
        axes.set_yticks(range(len(rows)), [label for _, label in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"mean of a run's iterations, {name}")
        ax.head(figure, title)
        return figure

    totals = [float(np.median([d.total for d in found])) for _, found in differences]
    held = [float(np.median([d.held for d in found])) for _, found in differences]
    return Picture(
        f"difference-order{order}",
        "memory",
        order,
        f"Order {order}: beside the antagonist the child gets"
        f" {' → '.join(map(ax.size, totals))} less, of which the antagonist holds"
        f" {' → '.join(map(ax.size, held))}",
        "What the child got less than when idle, and where that was when the kernel called the OOM"
        " killer, by its own report. Bars are medians of the runs"
        + (", lines their range." if any(len(found) > 1 for _, found in differences) else "."),
        draw,
    )

# SPDX-License-Identifier: GPL-2.0-only
"""Free memory by order and migratetype: where it went between two moments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import by_type as noted
from page_alloc_bench.analysis.report import spread
from page_alloc_bench.analysis.report.by_type import Change, Floats, Span
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result import units
from page_alloc_bench.runner.result.case import Case

from .picture import Picture, signed

_FEW = 4  # ticks of a small panel
_PANEL = 1.05  # inches of height
_LEAST = 0.01  # of the largest change: a migratetype with less in each order has no panel

Found = Sequence[tuple[Side, Sequence[Change]]]


def by_type(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return how free memory of each migratetype changed in each span of a case's order."""
    of_sides = [(side, noted.changes(side.results, case)) for side in sides]
    spans = dict.fromkeys(span for _, found in of_sides for span in found)
    made = []
    for span in spans:
        found = [(side, changes[span]) for side, changes in of_sides if span in changes]
        if names := _telling(found):
            made.append(_picture(found, names, span, case))
    return made


def _telling(found: Found) -> list[str]:
    every = [change for _, changes in found for change in changes]
    most = {
        name: max(float(np.abs(change.of(name)).max()) for change in every)
        for name in noted.types(every)
    }
    return [name for name in most if most[name] > _LEAST * max(most.values())]


def _picture(found: Found, names: Sequence[str], span: Span, case: Case) -> Picture:
    begin, end = (phase.replace("_", " ") for phase in span)
    where = f"{begin} phase" if begin == end else f"{begin} to {end}"
    words = []
    for name in names[:3]:
        sums = (float(np.median(_table(changes, name).sum(axis=1))) for _, changes in found)
        words.append(f"{name} {' → '.join(signed(value) for value in sums)}")
    return Picture(
        f"by-type-{span[0].replace('_', '-')}-{id_of(case)}",
        "buddyinfo",
        case,
        f"{name_of(case)}, {where}: free memory by migratetype: {', '.join(words)}",
        "What /proc/pagetypeinfo said after it less what it said before, all zones together, by the"
        " order of the free blocks. Memory that leaves the large blocks of Movable and comes back"
        " as small blocks, or in another row, is fragmentation that stays."
        + (
            f" Bars are medians of the runs, lines {spread.WORDS}."
            if any(len(changes) > 1 for _, changes in found)
            else ""
        ),
        lambda palette, title: _draw(found, names, palette, title),
    )


def _table(changes: Sequence[Change], name: str) -> Floats:
    """Return the changes of a migratetype, a row a run and a column an order."""
    rows = [change.of(name) for change in changes]
    depth = max(map(len, rows))
    return np.array([np.pad(row, (0, depth - len(row))) for row in rows])


def _draw(found: Found, names: Sequence[str], palette: Palette, title: str | None) -> Figure:
    figure, whole = ax.figure(0.9 + _PANEL * len(names), title)
    whole.remove()
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        tables = [(side, _table(changes, name)) for side, changes in found]
        bars(panel, tables, palette, legend=panel is panels[0])
        panel.set_title(name, fontsize=ax.FONT, loc="left", pad=3)
    panels[-1].set_xlabel("order of the free blocks")
    ax.head(figure, title)
    return figure


def bars(
    axes: Axes,
    tables: Sequence[tuple[Side, Floats]],
    palette: Palette,
    *,
    legend: bool = True,
    ticks: int = _FEW,
) -> None:
    """Draw changes of bytes by order, of each side: a row a run, a column an order."""
    most = max(float(np.abs(table).max()) for _, table in tables)
    name, factor = units.best(most, units.BYTES)
    width = 0.8 / len(tables)
    for number, (side, table) in enumerate(tables):
        middle = np.median(table, axis=0) / factor
        at = np.arange(len(middle)) + (number - (len(tables) - 1) / 2) * width
        axes.bar(
            at, middle, width * 0.9, color=getattr(palette, side.key),
            label=side.legend if legend else None, edgecolor=palette.paper, lw=0,
            hatch="" if side.key == "base" else "////",
        )  # fmt: skip
        if len(table) > 1:
            low, high = (end / factor for end in spread.ends(table))
            axes.vlines(at, low, high, color=palette.ink, lw=1)
    axes.axhline(0, color=palette.ink, lw=0.8)
    axes.set_xticks(range(max(table.shape[1] for _, table in tables)))
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.set_ylabel(f"change, {name}" if ticks > _FEW else name)

# SPDX-License-Identifier: GPL-2.0-only
"""The picture of what several kernels cost: a panel for each pattern, a line for each order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import palette as colours
from page_alloc_bench.analysis.report import svg

from . import releases as all_of
from .releases import Releases

_TITLE = "Instructions of one allocation and its free, against {}"
_ALIKE = 0.025  # of the height of a panel: lines whose ends are so near are told together
_HEIGHT = 1.9  # inches of a panel
_MARKERS = "osD^vPX*<>h"


def draw(releases: Releases, palette: colours.Palette = colours.LIGHT) -> Figure:
    """Return the picture; each line is in percent of the first kernel."""
    patterns = list(dict.fromkeys(case.pattern for case in releases.cases))
    head = all_of.names(releases)
    with ax.style(palette):
        title = _TITLE.format(head[0])
        figure, first = ax.figure(0.5 + _HEIGHT * len(patterns), title)
        first.remove()
        panels = figure.subplots(len(patterns), 1, squeeze=False, sharex=True)[:, 0]
        for panel, pattern in zip(panels, patterns):
            _panel(panel, releases, pattern, palette)
        panels[-1].set_xticks(range(len(head)), head)
        ax.head_without_legend(figure, title)
    return figure


def save(releases: Releases, path: Path) -> None:
    """Write the picture to PATH, as SVG. Raises OSError."""
    path.write_bytes(svg.render(draw(releases)))


def _panel(axes: Axes, releases: Releases, pattern: str, palette: colours.Palette) -> None:
    inks = (palette.base, palette.new, palette.third, palette.fourth, palette.ink)
    ends: list[tuple[float, int]] = []
    for number, case in enumerate(c for c in releases.cases if c.pattern == pattern):
        costs = releases.costs(case)
        parts = [100 * cost / costs[0] for cost in costs]
        axes.plot(
            range(len(parts)), parts, color=inks[number % len(inks)], lw=1.4,
            marker=_MARKERS[number % len(_MARKERS)], ms=4, ls="-" if number % 2 == 0 else "--",
        )  # fmt: skip
        ends.append((parts[-1], case.order))
    axes.set_title(pattern, fontsize=9.5, loc="left")
    axes.axhline(100, color=palette.ink, lw=0.8)
    axes.margins(x=0.02, y=0.12)
    low, high = axes.get_ylim()
    for value, orders in _together(ends, _ALIKE * 2 * (high - low)):
        axes.annotate(
            f"order {_ranges(orders)}", (len(releases.sides) - 1, value), (8, 0), fontsize=8.5,
            textcoords="offset points", va="center", annotation_clip=False,
        )  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


def _together(ends: Sequence[tuple[float, int]], near: float) -> list[tuple[float, list[int]]]:
    """Return the ends of lines with the orders that end there, those that are near as one."""
    groups: list[list[tuple[float, int]]] = []
    for end in sorted(ends):
        if groups and end[0] - groups[-1][-1][0] < near:
            groups[-1].append(end)
        else:
            groups.append([end])
    return [
        (sum(value for value, _ in group) / len(group), sorted(order for _, order in group))
        for group in groups
    ]


def _ranges(orders: Sequence[int]) -> str:
    """Return numbers in ascending order as people write them, such as "0 to 3, 9"."""
    parts: list[list[int]] = []
    for order in orders:
        if parts and order == parts[-1][-1] + 1:
            parts[-1].append(order)
        else:
            parts.append([order])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts)

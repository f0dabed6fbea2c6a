# SPDX-License-Identifier: GPL-2.0-only
"""The picture of what several kernels cost: a panel for each pattern, a line for each order."""

from __future__ import annotations

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
_COLUMNS = 3  # of the key
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
        ax.head(figure, title, columns=_COLUMNS)
    return figure


def save(releases: Releases, path: Path) -> None:
    """Write the picture to PATH, as SVG. Raises OSError."""
    path.write_bytes(svg.render(draw(releases)))


def _panel(axes: Axes, releases: Releases, pattern: str, palette: colours.Palette) -> None:
    inks = (palette.base, palette.new, palette.third, palette.fourth, palette.ink)
    orders = sorted({case.order for case in releases.cases})
    named = {case.order: case for case in reversed(releases.cases)}  # its first line is in the key
    for case in (case for case in releases.cases if case.pattern == pattern):
        costs = releases.costs(case)
        number = orders.index(case.order)
        axes.plot(
            range(len(costs)), [100 * cost / costs[0] for cost in costs],
            color=inks[number % len(inks)], lw=1.4, ls="-" if number % 2 == 0 else "--",
            marker=_MARKERS[number % len(_MARKERS)], ms=4,
            label=f"order {case.order}" if named[case.order] is case else None,
        )  # fmt: skip
    axes.set_title(pattern, fontsize=ax.FONT, loc="left")
    axes.axhline(100, color=palette.ink, lw=0.8)
    axes.margins(x=0.02, y=0.12)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))

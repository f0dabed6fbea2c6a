# SPDX-License-Identifier: GPL-2.0-only
"""A trend as a page: a table of changes, and a small picture of each series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from page_alloc_bench.analysis.comparison import describe
from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import page
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.pictures.picture import Picture
from page_alloc_bench.analysis.report.tables import Row, Table
from page_alloc_bench.analysis.verdict.interval import Array

from . import words
from .changes import Trend

_HEIGHT = 1.9  # inches
_NAME = 14  # characters of a kernel's name under a picture


def render(every: Sequence[Trend]) -> str:
    """Return the page."""
    sections = [_changes(every)]
    machines = dict.fromkeys(trend.series.machine for trend in every)
    for number, machine in enumerate(machines):
        mine = [trend for trend in every if trend.series.machine == machine]
        mine.sort(key=lambda trend: (not trend.newest_is_worse, not trend.changes))
        drawn = [
            page.draw(_picture(trend, f"series-{number}-{at}")) for at, trend in enumerate(mine)
        ]
        parts = [page.Part(f"{len(mine)} figures", drawn, [])]
        sections.append(page.Section(f"machine-{number}", machine, parts=parts))
    return page.document("Page allocator benchmark: trends", words.sentences(every), sections)


def _changes(every: Sequence[Trend]) -> page.Section:
    rows = [Row(row, "marked" if " worse" in row[3] else "") for row in words.rows(every)]
    text = ["Rows with a grey ground are for the worse."]
    if not rows:
        return page.Section("changes", "Changes", ["No change is confirmed."])
    table = Table("Confirmed changes", words.HEAD, rows, open=True, text=True)
    return page.Section("changes", "Changes", text, tables=[table])


def _picture(trend: Trend, name: str) -> Picture:
    of = trend.series.statistic
    told = [f"{change.point}: {words.size_of(change)}" for change in trend.changes]
    text = "; ".join(told) if told else "No confirmed change."
    kernels = len(trend.series.points)
    return Picture(
        name,
        "trend",
        of.case,
        describe(of),
        f"{kernels} kernels; a dot is a boot, a line the median of a segment. {text}",
        lambda palette, title: _draw(trend, palette, title),
    )


def _draw(trend: Trend, palette: Palette, title: str | None) -> Figure:
    figure, axes = ax.figure(_HEIGHT, title)
    points, of = trend.series.points, trend.series.statistic
    places = np.concatenate([np.full(p.boots.size, at) for at, p in enumerate(points)])
    boots = np.concatenate([point.boots for point in points])
    axes.plot(places, boots, "o", ms=2.6, mew=0, color=palette.base, gid="boots")
    for begin, end in zip(trend.segments, trend.segments[1:], strict=False):
        middle = float(np.median(np.concatenate([p.boots for p in points[begin:end]])))
        span = [begin - 0.4, end - 0.6]
        axes.plot(span, [middle, middle], color=palette.ink, lw=1.4, gid="segment")
    for change in trend.changes:
        _mark(axes, change.at - 0.5, palette.new if change.worse else palette.third, change.worse)
    axes.set_ylim(*_limits(boots))
    ax.value_axis(axes.yaxis, float(boots.max()), of.unit)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _name(trend, at)))
    ax.mark_cut(axes, palette)
    ax.head_without_legend(figure, title)
    return figure


def _limits(boots: Array) -> tuple[float, float]:
    """Return what is shown: all boots, with some room; from 0 on where that is near."""
    least, most = float(boots.min()), float(boots.max())
    room = (most - least) * 0.08 or most * 0.05
    return (0.0 if least < most / 2 else least - room), most + room


def _mark(axes: Axes, place: float, colour: str, worse: bool) -> None:
    """Mark where something changed: for the worse by a solid line, else by a dotted one."""
    axes.axvline(place, color=colour, lw=1.2, ls="solid" if worse else (0, (1, 1.5)), gid="change")


def _name(trend: Trend, at: float) -> str:
    points = trend.series.points
    if at != int(at) or not 0 <= at < len(points):
        return ""
    name = points[int(at)].name
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\N{HORIZONTAL ELLIPSIS}"

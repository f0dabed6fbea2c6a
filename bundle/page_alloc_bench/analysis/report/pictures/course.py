# SPDX-License-Identifier: GPL-2.0-only
"""Latencies by CPU and over time: which CPU waits, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import course as of_runs
from page_alloc_bench.analysis.report import spread
from page_alloc_bench.analysis.report.course import Course
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Timed

from .picture import LINES, MARKERS, Picture

_PANEL = 1.45  # inches of height
_FEW = 24  # CPUs, of which each has its number on the axis and its marker a place of its own
_SHIFT = 0.16  # of a CPU's place, by which the sides are apart

Found = list[tuple[Timed, list[tuple[Side, Course]]]]


def course(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return the latencies of a case by CPU, and over time, of each workload that tells them."""
    made = []
    for workload, operations in of_runs.operations().items():
        for key, words, read, draw in _KINDS:
            found: Found = []
            for timed in operations:
                known = [(side, read(side.results, timed, case)) for side in sides]
                told = [(side, one) for side, one in known if one is not None]
                if told:
                    found.append((timed, told))
            if found and max(len(one.places) for _, told in found for _, one in told) > 1:
                made.append(_picture(found, (key, words, workload), draw, case))
    return made


Draw = Callable[[Axes, Side, Course, Palette, int], None]


def _picture(found: Found, names: tuple[str, str, str], draw: Draw, case: Case) -> Picture:
    key, words, workload = names
    several = any(len(side.results) > 1 for _, told in found for side, _ in told)
    return Picture(
        f"{key}-{workload}-{id_of(case)}",
        f"course-{workload}",
        case,
        f"{name_of(case)}, latency {words}: {_extremes(found)}",
        "Filled markers are medians, hollow ones the 99th percentiles, of what was timed"
        f" {_TEXTS[key]}" + (f" Medians of the runs, with {spread.WORDS}." if several else ""),
        lambda palette, title: _draw(found, draw, key, palette, title),
        part="Latency by CPU and over time",
    )


def _extremes(found: Found) -> str:
    """Return between what the medians of the first operation lie, on each side."""
    timed, told = found[0]
    texts = []
    for _, one in told:
        values = one.figures["median"].middle
        least, most = float(np.nanmin(values)), float(np.nanmax(values))
        texts.append(f"{ax.time(least)} to {ax.time(most)}")
    return f"{timed.sample.label} median {' → '.join(texts)}"


def _draw(found: Found, draw: Draw, key: str, palette: Palette, title: str | None) -> Figure:
    figure, whole = ax.figure(0.9 + _PANEL * len(found), title)
    whole.remove()
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (timed, told) in zip(panels, found, strict=True):
        for number, (side, one) in enumerate(told):
            draw(panel, side, one, palette, 2 * number - len(told) + 1)
            if panel is panels[0]:
                panel.plot(
                    [], [], color=getattr(palette, side.key), marker=MARKERS[side.key], ms=5,
                    ls=LINES[side.key] if key == "time" else "none", label=side.legend,
                )  # fmt: skip
        _scale(panel, [one for _, one in told])
        panel.set_title(timed.sample.label, fontsize=ax.FONT, loc="left", pad=3)
    if key == "time":
        panels[-1].set_xlim(left=0)
        panels[-1].set_xlabel("time measured, s")
    else:
        cpus = sorted({cpu for _, told in found for _, one in told for cpu in one.places})
        fixed = FixedLocator(cpus) if len(cpus) <= _FEW else MaxNLocator(8, integer=True)
        panels[-1].xaxis.set_major_locator(fixed)
        panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda cpu, _: f"{cpu:g}"))
        panels[-1].set_xlabel("CPU")
    ax.head(figure, title)
    return figure


def _cpus(axes: Axes, side: Side, one: Course, palette: Palette, shift: int) -> None:
    colour, few = getattr(palette, side.key), len(one.places) <= _FEW
    at = one.places + (_SHIFT * shift if few else 0)
    for name, band in one.figures.items():
        axes.plot(
            at, band.middle, ls="none", marker=MARKERS[side.key], ms=5 if few else 2.5,
            color=colour, mfc=colour if name == "median" else palette.paper,
        )  # fmt: skip
        if few and len(side.results) > 1:
            axes.vlines(at, band.low, band.high, color=colour, lw=1.2, zorder=1)


def _slices(axes: Axes, side: Side, one: Course, palette: Palette, _shift: int) -> None:
    colour = getattr(palette, side.key)
    for name, band in one.figures.items():
        axes.plot(
            one.places, band.middle, ls=LINES[side.key], lw=1.4, marker=MARKERS[side.key], ms=4,
            color=colour, mfc=colour if name == "median" else palette.paper,
        )  # fmt: skip
        if len(side.results) > 1:
            axes.fill_between(one.places, band.low, band.high, color=colour, alpha=0.18, lw=0)


def _scale(axes: Axes, told: Sequence[Course]) -> None:
    values = np.concatenate(
        [end for one in told for band in one.figures.values() for end in (band.low, band.high)]
    )
    low, high = float(np.nanmin(values)) / 1.3, float(np.nanmax(values)) * 1.3
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(list(ax.log_ticks(low, high, 5))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ax.time(value)))


_TEXTS = {
    "cpus": "on each CPU. A CPU that stands apart has other work, or is far from its memory.",
    "time": "in each iteration, or second: a line that moves tells of lists that adapt, of memory"
    " that fills up, or of other work.",
}
_KINDS = (
    ("cpus", "by CPU", of_runs.by_cpu, _cpus),
    ("time", "over time", of_runs.over_time, _slices),
)

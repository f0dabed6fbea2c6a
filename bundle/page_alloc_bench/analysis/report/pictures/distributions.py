# SPDX-License-Identifier: GPL-2.0-only
"""How long operations took: the tail and the histogram of each kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import figures, latency, spread
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Timed, operations

from .picture import LINES, MARKERS, Picture


def latencies(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return the tail and the histogram of each kind of operation that was timed."""
    made = []
    for of in operations().values():
        runs = [(side, latency.all_of(side.results, of, case)) for side in sides]
        runs = [(side, timed) for side, timed in runs if timed]
        if runs and sum(run.total for _, timed in runs for run in timed) >= 10:
            made += [_tail(runs, of, case), _histogram(runs, of, case)]
    return made


Runs = list[tuple[Side, list[latency.Distribution]]]


def _tail(runs: Runs, of: Timed, case: Case) -> Picture:
    depth = latency.depth([timed for _, timed in runs])
    bands = [(side, timed, latency.tail(timed, depth)) for side, timed in runs]

    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.6, title)
        least = min(band.at[-1] for _, _, band in bands) / 1.6
        for side, timed, band in bands:
            colour = getattr(palette, side.key)
            if len(timed) > 1:
                axes.fill_betweenx(band.at, band.low, band.high, color=colour, alpha=0.22, lw=0)
            axes.plot(band.middle, band.at, color=colour, ls=LINES[side.key], label=side.legend)
            axes.plot(
                [run.largest for run in timed],
                [least] * len(timed),
                ls="none", marker=MARKERS[side.key], ms=4.5, color=colour, alpha=0.8,
                clip_on=False, zorder=5,
            )  # fmt: skip
        low = min(band.low.min() for _, _, band in bands)
        high = max(run.largest for _, timed in runs for run in timed)
        ax.log_time(axes, low / 1.1, high * 1.25)
        axes.set_yscale("log")
        axes.set_ylim(1.0, least)
        ticks = [0.5, *(10.0**-e for e in range(1, 10) if 10.0**-e >= least)]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: _percentile(share)))
        axes.set_xlabel(f"time of one {of.sample.label} (log)")
        axes.set_ylabel("percentile (log tail)")
        ax.head(figure, title)
        return figure

    return Picture(
        f"{of.key}-tail-{id_of(case)}",
        f"latency-{of.key}",
        case,
        _tail_title(runs, of, case),
        "Cumulative distribution of all timed operations, its tail on a logarithmic axis, down to"
        f" one operation of {1 / depth:,.0f}{', which each side has' if len(runs) > 1 else ''}."
        f"{_not_drawn(runs)} Markers on the upper edge are the longest operation of each run"
        + (
            f"; the line is the median of the runs, the band {spread.WORDS}."
            if any(len(timed) > 1 for _, timed, _ in bands)
            else "."
        ),
        draw,
        part=of.sample.family.capitalize(),
    )


def _tail_title(runs: Runs, of: Timed, case: Case) -> str:
    """Return the message: the middle, the deepest tail that every side has, and the longest."""
    known = [
        (name, [figures.middle(side, of.sample.name, name, case) for side, _ in runs])
        for name in figures.LATENCY
    ]
    told = {name: values for name, values in known if None not in values}
    if "p99.9" in told:
        told.pop("p99", None)
    words = [
        f"{name} {' → '.join(figures.write(value, 'ns') for value in values if value is not None)}"
        for name, values in told.items()
    ]
    return f"{name_of(case)} {of.sample.label}: {', '.join(words)}"


def _percentile(share: float) -> str:
    return f"p{100 * (1 - share):.10g}"


def _histogram(runs: Runs, of: Timed, case: Case) -> Picture:
    views = [latency.view(timed) for _, timed in runs]
    between = min(low for low, _ in views), max(high for _, high in views)
    bands = [(side, timed, latency.histogram(timed, between)) for side, timed in runs]

    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.3, title)
        for side, timed, band in bands:
            colour = getattr(palette, side.key)
            if len(timed) > 1:
                axes.fill_between(
                    band.at, 100 * band.low, 100 * band.high,
                    step="post", color=colour, alpha=0.22, lw=0,
                )  # fmt: skip
            else:
                axes.fill_between(
                    band.at, 0, 100 * band.middle, step="post", color=colour, alpha=0.15, lw=0
                )
            axes.plot(
                band.at, 100 * band.middle, color=colour, ls=LINES[side.key],
                drawstyle="steps-post", label=side.legend, lw=1.4,
            )  # fmt: skip
        ax.log_time(axes, *between)
        axes.set_ylim(0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axes.set_xlabel(f"time of one {of.sample.label} (log)")
        axes.set_ylabel("share per 5 % step")
        ax.head(figure, title)
        return figure

    return Picture(
        f"{of.key}-histogram-{id_of(case)}",
        f"latency-{of.key}",
        case,
        f"{name_of(case)} {of.sample.label}: most operations take {_modes(bands)}",
        "Histogram of all timed operations but the slowest 1 %, which the picture of the tail"
        f" shows.{_not_drawn(runs)}",
        draw,
        part=of.sample.family.capitalize(),
    )


def _modes(bands: Sequence[tuple[Side, Sequence[latency.Distribution], latency.Band]]) -> str:
    """Return how long most operations of each side take."""
    coarse = [run.step_ns for _, timed, _ in bands for run in timed if run.coarse]
    if coarse:
        return f"less than {ax.time(max(coarse))}, the clock's step"
    return f"about {' → '.join(ax.time(_mode(band)) for _, _, band in bands)}"


def _mode(band: latency.Band) -> float:
    place = int(band.middle[:-1].argmax())
    return float(np.sqrt(band.at[place] * band.at[place + 1]))


def _not_drawn(runs: Runs) -> str:
    """Return a sentence about operations that the clock was too coarse for."""
    coarse = [run for _, timed in runs for run in timed if run.hidden]
    if not coarse:
        return ""
    share = max(run.hidden / run.total for run in coarse)
    step = ax.time(max(run.step_ns for run in coarse))
    return f" Up to {100 * share:.3g} % of a run's were below the clock's step, {step}: not drawn."

# SPDX-License-Identifier: GPL-2.0-only
"""The runs one by one, in the order in which they were made: what drifts, and what a boot does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from page_alloc_bench.analysis import compare, per_run, thresholds
from page_alloc_bench.analysis.observed import start
from page_alloc_bench.analysis.per_run import Rank, Statistic
from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import figures
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.analysis.verdict import observations
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import declared

from .picture import MARKERS, Picture

_LEAST = 3  # runs that have an order worth looking at
_PANEL = 1.0  # inches of height
_MANY = 40  # runs; from here on dots are small


@dataclass(frozen=True)
class _Run:
    """A run. boot: a number of the boot it is of, over both sides; started: s, None if unknown."""

    side: Side
    boot: int
    started: float | None
    values: dict[Statistic, float]


def in_time(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return what each run measured, of the figures that decide, in the order of time."""
    runs = _runs(sides)
    if len(runs) < _LEAST or any(run.started is None for run in runs):
        return []
    runs.sort(key=lambda run: run.started or 0.0)
    known = dict.fromkeys(s for run in runs for s in run.values if s.case == case)
    shown = sorted((s for s in known if _decides(s, known)), key=lambda s: s.place)
    if not shown:
        return []
    boots = len({run.boot for run in runs})
    return [
        Picture(
            f"runs-{id_of(case)}",
            "runs",
            case,
            f"{name_of(case)}: {len(runs)} runs of {boots} boots in the order of time",
            "A marker is a run. Each change between grey and white ground is another boot."
            " A figure that moves along both sides drifts with the host; one that moves with the"
            " ground depends on the boot.",
            lambda palette, title: _draw(runs, shown, palette, title),
            part="Runs in the order of time",
        )
    ]


def _decides(statistic: Statistic, known: Iterable[Statistic]) -> bool:
    """Return whether a verdict would rest on this by default, as Observed has it."""
    better = declared(statistic.metric).stand_in_for
    weighs = statistic.rank is Rank.PRIMARY or (better and all(s.metric != better for s in known))
    return bool(weighs) and thresholds.kind_of(statistic) in thresholds.DECIDING


def _runs(sides: Sequence[Side]) -> list[_Run]:
    made: list[_Run] = []
    first = 0
    for side in sides:
        starts = [start(result) for result in side.results]
        boots = observations.boots(starts)
        for result, known, boot in zip(side.results, starts, boots.of_run, strict=True):
            made.append(_Run(side, first + boot, known.started, per_run.statistics(result)))
        first += boots.number
    return made


def _draw(
    runs: Sequence[_Run], shown: Sequence[Statistic], palette: Palette, title: str | None
) -> Figure:
    figure, whole = ax.figure(0.9 + _PANEL * len(shown), title)
    whole.remove()
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for panel, statistic in zip(panels, shown, strict=True):
        _ground(panel, runs, palette)
        _dots(panel, runs, statistic, palette, legend=panel is panels[0])
        panel.set_title(compare.label(statistic), fontsize=ax.FONT, loc="left", pad=3)
    panels[-1].set_xlim(0.4, len(runs) + 0.6)
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    panels[-1].set_xlabel("run, in the order of time")
    ax.head(figure, title)
    return figure


def _ground(panel: Axes, runs: Sequence[_Run], palette: Palette) -> None:
    """Give every other boot a ground of its own."""
    panel.grid(visible=False, axis="x")
    begin, grey = 0, False
    for place in range(1, len(runs) + 1):
        if place == len(runs) or runs[place].boot != runs[begin].boot:
            if grey:
                panel.axvspan(begin + 0.5, place + 0.5, color=palette.faint, alpha=0.35, lw=0)
            begin, grey = place, not grey


def _dots(
    panel: Axes, runs: Sequence[_Run], statistic: Statistic, palette: Palette, *, legend: bool
) -> None:
    sides = list(dict.fromkeys(run.side for run in runs))
    known = [run.values[statistic] for run in runs if statistic in run.values]
    for side in sorted(sides, key=lambda side: side.key):
        at = [
            (place, float(run.values[statistic]))
            for place, run in enumerate(runs, 1)
            if run.side is side and statistic in run.values
        ]
        panel.plot(
            [place for place, _ in at], [value for _, value in at], ls="none",
            marker=MARKERS[side.key], ms=5.5 if len(runs) < _MANY else 3.5,
            color=getattr(palette, side.key), label=side.legend if legend else None,
        )  # fmt: skip
    low, high = min(known), max(known)
    if low > 0 and high > 4 * low:  # two sides that are far apart would each be a line
        panel.set_yscale("log")
        panel.set_ylim(low / 1.6, high * 1.6)
        panel.yaxis.set_major_locator(FixedLocator(list(ax.log_ticks(low / 1.6, high * 1.6, 3))))
        panel.yaxis.set_minor_locator(FixedLocator([]))
    else:
        panel.margins(y=0.25)
        panel.yaxis.set_major_locator(MaxNLocator(3))
    panel.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: figures.write(float(value), statistic.unit))
    )

# SPDX-License-Identifier: GPL-2.0-only
"""Allocations per second: bars, or a heat map of a big machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import counters, spread
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Metric, declared

from .picture import Picture

_MANY_CPUS = 24  # more bars than that on a side are a heat map
_ROW = 64  # CPUs in a row of a heat map
_HEAT = mpl.colormaps["cividis"].resampled(32)


def throughput(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return what each CPU does in a second: bars, or a heat map of a big machine."""
    made = []
    for rate in counters.rates_by_cpu():
        found = [(side, counters.cpu_rates(side.results, rate, case)) for side in sides]
        found = [(side, rates) for side, rates in found if rates]
        if found:
            made.append(_picture(found, rate, case))
    return made


Rates = Sequence[tuple[Side, "dict[int, counters.Floats]"]]


def _picture(found: Rates, rate: Metric, case: Case) -> Picture:
    what = declared(rate.counts).label
    nodes = counters.node_of_cpu([result for side, _ in found for result in side.results])
    cpus = sorted({cpu for _, rates in found for cpu in rates}, key=lambda c: (nodes.get(c, 0), c))
    middles = [
        {cpu: float(np.median(values)) for cpu, values in rates.items()} for _, rates in found
    ]
    title = f"{name_of(case)}: {' → '.join(ax.count(sum(m.values())) for m in middles)} {what}/s"
    ends = [dict.fromkeys([ax.count(min(m.values())), ax.count(max(m.values()))]) for m in middles]
    title += f"; each CPU makes {' → '.join(' to '.join(texts) for texts in ends)}"
    drawn = _heat_map if len(cpus) > _MANY_CPUS else _bars
    text = f"{what.capitalize()} per second of each CPU: its share of all, times the rate of all. "
    text += (
        f"Medians of the runs, lines {spread.WORDS}."
        if any(len(s.results) > 1 for s, _ in found)
        else ""
    )
    return Picture(
        f"{rate.section}-{id_of(case)}",
        rate.section,
        case,
        title,
        text.strip(),
        drawn(found, cpus, nodes, what),
        part=rate.section.capitalize(),
    )


def _bars(
    found: Rates, cpus: Sequence[int], nodes: dict[int, int], what: str
) -> Callable[[Palette, str | None], Figure]:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.2, title)
        places = np.arange(len(cpus)) + 0.6 * np.cumsum(
            [0, *(nodes.get(a) != nodes.get(b) for a, b in zip(cpus, cpus[1:]))]
        )
        width = 0.8 / len(found)
        for number, (side, rates) in enumerate(found):
            at = places + (number - (len(found) - 1) / 2) * width
            values = [rates.get(cpu, np.zeros(1)) for cpu in cpus]
            middle = np.array([np.median(v) for v in values])
            axes.bar(
                at, middle, width * 0.9, color=getattr(palette, side.key), label=side.legend,
                edgecolor=palette.paper, lw=0, hatch="" if side.key == "base" else "////",
            )  # fmt: skip
            if len(side.results) > 1:
                axes.vlines(
                    at, *np.array([spread.ends(v) for v in values]).T, color=palette.ink, lw=1
                )
        axes.set_xticks(places, [str(cpu) for cpu in cpus])
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        for node in sorted({nodes.get(cpu, 0) for cpu in cpus}):
            inside = [p for p, cpu in zip(places, cpus) if nodes.get(cpu, 0) == node]
            axes.annotate(
                f"node {node}", (float(np.mean(inside)), 0), (0, -22), ha="center", va="top",
                xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=ax.FONT,
            )  # fmt: skip
        axes.margins(x=0.03, y=0.08)
        axes.set_xlabel("CPU", labelpad=18)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ax.count(value)))
        axes.set_ylabel(f"{what} per second")
        ax.head(figure, title)
        return figure

    return draw


def _heat_map(
    found: Rates, cpus: Sequence[int], nodes: dict[int, int], what: str
) -> Callable[[Palette, str | None], Figure]:
    rows = _rows(cpus, nodes)

    def draw(_palette: Palette, title: str | None) -> Figure:
        height = len(found) * (0.45 + 0.17 * max(len(rows), 3)) + 0.75
        figure, first = ax.figure(height, title)
        first.remove()
        panels = figure.subplots(len(found), 1, squeeze=False)[:, 0]
        tables = [_table(rates, rows) for _, rates in found]
        least = min(float(np.nanmin(table)) for table in tables)
        most = max(float(np.nanmax(table)) for table in tables)
        for panel, (side, _), table in zip(panels, found, tables):
            mesh = panel.pcolormesh(table, cmap=_HEAT, vmin=least, vmax=most)
            panel.set_yticks(np.arange(len(rows)) + 0.5, [label for label, _ in rows])
            if len(rows) > 16:
                panel.yaxis.set_major_locator(MaxNLocator(12, integer=True))
            panel.invert_yaxis()
            panel.grid(visible=False)
            panel.tick_params(length=0)
            panel.set_title(side.legend, fontsize=ax.FONT, loc="left")
        ax.head_without_legend(figure, title)
        panels[-1].set_xlabel("CPUs of a node, in the order of their numbers")
        bar = figure.colorbar(mesh, ax=list(panels), aspect=12 * len(found), pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ax.count(value)))
        bar.ax.grid(visible=False)
        if bar.solids is not None:
            bar.solids.set_rasterized(False)  # an image would not scale, nor be as small
        bar.set_label(f"{what}/s of a CPU")
        return figure

    return draw


def _rows(cpus: Sequence[int], nodes: dict[int, int]) -> list[tuple[str, list[int]]]:
    """Return label and CPUs of each row of a heat map: a node, or a part of a large one."""
    rows = []
    for node in sorted({nodes.get(cpu, 0) for cpu in cpus}):
        inside = [cpu for cpu in cpus if nodes.get(cpu, 0) == node]
        rows += [
            (f"node {node}" if not start else "", inside[start : start + _ROW])
            for start in range(0, len(inside), _ROW)
        ]
    return rows


def _table(
    rates: dict[int, counters.Floats], rows: Sequence[tuple[str, list[int]]]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    table = np.full((len(rows), max(len(cpus) for _, cpus in rows)), np.nan)
    for row, (_, cpus) in enumerate(rows):
        for column, cpu in enumerate(cpus):
            if cpu in rates:
                table[row, column] = np.median(rates[cpu])
    return table

# SPDX-License-Identifier: GPL-2.0-only
"""The pictures of a report: what each says, and how it is drawn.

One run is drawn as it is. Of several, the median is drawn with the range from the least to the
most, so that twenty runs are as easily read as two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from . import axes as ax
from . import counters, figures, latency, memory
from .palette import Palette
from .sides import Side

_LINES = {"base": "solid", "new": (0, (5, 1.5))}
_MARKERS = {"base": "o", "new": "D"}
_MANY_CPUS = 24  # more bars than that on a side are a heat map
_ROW = 64  # CPUs in a row of a heat map
_HEAT = mpl.colormaps["cividis"].resampled(32)


@dataclass(frozen=True)
class Picture:
    """One picture. name: of its file and ids; title: what it says; text: what is to be seen.

    section: which part of a report it belongs to. draw: makes it, in some colours, with the title
    in it or without.
    """

    name: str
    section: str
    order: int
    title: str
    text: str
    draw: Callable[[Palette, str | None], Figure]

    def figure(self, palette: Palette, titled: bool) -> Figure:
        """Return the picture, drawn in palette; titled: with its title in it."""
        with ax.style(palette):
            return self.draw(palette, self.title if titled else None)


def latencies(sides: Sequence[Side], order: int) -> list[Picture]:
    """Return the tail and the histogram of each kind of operation that was timed."""
    made = []
    for kind in latency.KINDS:
        runs = [(side, latency.all_of(side.results, kind, order)) for side in sides]
        runs = [(side, timed) for side, timed in runs if timed]
        if runs and sum(run.total for _, timed in runs for run in timed) >= 10:
            made += [_tail(runs, kind, order), _histogram(runs, kind, order)]
    return made


Timed = list[tuple[Side, list[latency.Distribution]]]


def _tail(runs: Timed, kind: latency.Kind, order: int) -> Picture:
    bands = [(side, timed, latency.tail(timed)) for side, timed in runs]

    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.3, title)
        for side, timed, band in bands:
            colour = getattr(palette, side.key)
            if len(timed) > 1:
                axes.fill_betweenx(band.at, band.low, band.high, color=colour, alpha=0.22, lw=0)
            axes.plot(band.middle, band.at, color=colour, ls=_LINES[side.key], label=_of(side))
            axes.plot(
                [run.largest for run in timed],
                [1 / run.total for run in timed],
                ls="none", marker=_MARKERS[side.key], ms=3.5, color=colour, alpha=0.8,
            )  # fmt: skip
        least = min(band.at[-1] for _, _, band in bands)
        low = min(band.low.min() for _, _, band in bands)
        high = max(run.largest for _, timed in runs for run in timed)
        ax.log_time(axes, low / 1.1, high * 1.25)
        axes.set_yscale("log")
        axes.set_ylim(1.0, least / 1.6)
        ticks = [0.5, *(10.0**-e for e in range(1, 10) if 10.0**-e >= least)]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: _percentile(share)))
        axes.set_xlabel(f"time of one {kind.label} (log)")
        axes.set_ylabel("percentile of operations\n(log tail)")
        ax.head(figure, title)
        return figure

    return Picture(
        f"{kind.name}-tail-order{order}",
        f"latency-{kind.name}",
        order,
        _tail_title(runs, kind, order),
        "Cumulative distribution of all timed operations, its tail on a logarithmic axis: up to"
        " one operation in so many. Markers are the longest operation of each run"
        + (
            "; the line is the median of the runs, the band reaches from the least to the most."
            if any(len(timed) > 1 for _, timed, _ in bands)
            else "."
        ),
        draw,
    )


def _tail_title(runs: Timed, kind: latency.Kind, order: int) -> str:
    """Return the message: the middle, the deepest tail that every side has, and the longest."""
    known = [
        (name, [figures.middle(side, kind.metric, name, order) for side, _ in runs])
        for name in ("median", "p99", "p99.9", "max")
    ]
    told = {name: values for name, values in known if None not in values}
    if "p99.9" in told:
        told.pop("p99", None)
    words = [
        f"{name} {' → '.join(ax.time(value) for value in values if value is not None)}"
        for name, values in told.items()
    ]
    return f"Order {order} {kind.label}: {', '.join(words)}"


def _percentile(share: float) -> str:
    return f"p{100 * (1 - share):.10g}"


def _histogram(runs: Timed, kind: latency.Kind, order: int) -> Picture:
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
                band.at, 100 * band.middle, color=colour, ls=_LINES[side.key],
                drawstyle="steps-post", label=_of(side), lw=1.4,
            )  # fmt: skip
        ax.log_time(axes, *between)
        axes.set_ylim(0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axes.set_xlabel(f"time of one {kind.label} (log)")
        axes.set_ylabel("share of operations per\n5 % step of time")
        ax.head(figure, title)
        return figure

    modes = [ax.time(_mode(band)) for _, _, band in bands]
    return Picture(
        f"{kind.name}-histogram-order{order}",
        f"latency-{kind.name}",
        order,
        f"Order {order} {kind.label}: most operations take about {' → '.join(modes)}",
        "Histogram of all timed operations but the slowest 1 %, which the picture of the tail"
        " shows.",
        draw,
    )


def _mode(band: latency.Band) -> float:
    place = int(band.middle[:-1].argmax())
    return float(np.sqrt(band.at[place] * band.at[place + 1]))


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
                color=colour, ls=_LINES[side.key] if filled else (0, (1, 1.5)), lw=1.0,
                elinewidth=1.2, capsize=2, marker=_MARKERS[side.key], ms=5.5,
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
                    label=_of(side) if row == 0 else None,
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


def throughput(sides: Sequence[Side], order: int) -> list[Picture]:
    """Return allocations per second by CPU: bars, or a heat map of a big machine."""
    found = [(side, counters.cpu_rates(side.results, order)) for side in sides]
    found = [(side, rates) for side, rates in found if rates]
    if not found:
        return []
    nodes = counters.node_of_cpu([result for side in sides for result in side.results])
    cpus = sorted({cpu for _, rates in found for cpu in rates}, key=lambda c: (nodes.get(c, 0), c))
    middles = [
        {cpu: float(np.median(values)) for cpu, values in rates.items()} for _, rates in found
    ]
    title = f"Order {order}: {' → '.join(ax.count(sum(m.values())) for m in middles)} allocations/s"
    least, most = min(min(m.values()) for m in middles), max(max(m.values()) for m in middles)
    title += f"; a CPU makes {ax.count(least)} to {ax.count(most)}"
    draw = _heat_map(found, cpus, nodes) if len(cpus) > _MANY_CPUS else _bars(found, cpus, nodes)
    text = "Allocations per second of each CPU: its share of all, times the rate of all. "
    text += "Medians of the runs." if any(len(s.results) > 1 for s, _ in found) else ""
    return [Picture(f"throughput-order{order}", "throughput", order, title, text.strip(), draw)]


Rates = Sequence[tuple[Side, "dict[int, counters.Floats]"]]


def _bars(
    found: Rates, cpus: Sequence[int], nodes: dict[int, int]
) -> Callable[[Palette, str | None], Figure]:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(2.9, title)
        places = np.arange(len(cpus)) + 0.6 * np.cumsum(
            [0, *(nodes.get(a) != nodes.get(b) for a, b in zip(cpus, cpus[1:]))]
        )
        width = 0.8 / len(found)
        for number, (side, rates) in enumerate(found):
            at = places + (number - (len(found) - 1) / 2) * width
            values = [rates.get(cpu, np.zeros(1)) for cpu in cpus]
            middle = np.array([np.median(v) for v in values])
            spread = np.array([(m - v.min(), v.max() - m) for m, v in zip(middle, values)]).T
            axes.bar(
                at, middle, width * 0.9, color=getattr(palette, side.key), label=_of(side),
                edgecolor=palette.paper, lw=0, hatch="" if side.key == "base" else "////",
            )  # fmt: skip
            if len(side.results) > 1:
                axes.errorbar(at, middle, yerr=spread, ls="none", color=palette.ink, lw=1)
        axes.set_xticks(places, [str(cpu) for cpu in cpus])
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        for node in sorted({nodes.get(cpu, 0) for cpu in cpus}):
            inside = [p for p, cpu in zip(places, cpus) if nodes.get(cpu, 0) == node]
            axes.annotate(
                f"node {node}", (float(np.mean(inside)), 0), (0, -18), ha="center", va="top",
                xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9,
            )  # fmt: skip
        axes.margins(x=0.03, y=0.08)
        axes.set_xlabel("CPU", labelpad=14)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ax.count(value)))
        axes.set_ylabel("allocations per second")
        ax.head(figure, title)
        return figure

    return draw


def _heat_map(
    found: Rates, cpus: Sequence[int], nodes: dict[int, int]
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
            panel.set_title(_of(side), fontsize=9.5, loc="left")
        ax.head_without_legend(figure, title)
        panels[-1].set_xlabel("CPUs of a node, in the order of their numbers")
        bar = figure.colorbar(mesh, ax=list(panels), aspect=12 * len(found), pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ax.count(value)))
        bar.ax.grid(visible=False)
        if bar.solids is not None:
            bar.solids.set_rasterized(False)  # an image would not scale, nor be as small
        bar.set_label("allocations/s of a CPU")
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


def free_memory(sides: Sequence[Side], order: int) -> list[Picture]:
    """Return how /proc/buddyinfo changed in each phase."""
    made = []
    for phase in counters.PHASES:
        found = [(side, counters.changes(side.results, phase, order)) for side in sides]
        found = [(side, changes) for side, changes in found if changes.size]
        if found:
            made.append(_buddy(found, phase, order))
    return made


Changes = Sequence[tuple[Side, counters.Floats]]


def _buddy(found: Changes, phase: str, order: int) -> Picture:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(2.9, title)
        name, factor = ax.unit_of_bytes(max(float(np.abs(c).max()) for _, c in found))
        width = 0.8 / len(found)
        for number, (side, changes) in enumerate(found):
            middle = np.median(changes, axis=0) / factor
            at = np.arange(len(middle)) + (number - (len(found) - 1) / 2) * width
            axes.bar(
                at, middle, width * 0.9, color=getattr(palette, side.key), label=_of(side),
                edgecolor=palette.paper, lw=0, hatch="" if side.key == "base" else "////",
            )  # fmt: skip
            if len(changes) > 1:
                axes.vlines(
                    at, changes.min(axis=0) / factor, changes.max(axis=0) / factor,
                    color=palette.ink, lw=1,
                )  # fmt: skip
        axes.axhline(0, color=palette.ink, lw=0.8)
        axes.set_xticks(range(max(c.shape[1] for _, c in found)))
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+g}" if value else "0")
        )
        axes.set_xlabel("order of the free blocks")
        axes.set_ylabel(f"change of free memory, {name}")
        ax.head(figure, title)
        return figure

    sums = [float(np.median(changes.sum(axis=1))) for _, changes in found]
    words = " → ".join(_signed(value) for value in sums)
    return Picture(
        f"buddyinfo-{phase}-order{order}",
        "buddyinfo",
        order,
        f"Order {order}, {phase} phase: free memory changed by {words}",
        "What /proc/buddyinfo said after the phase less what it said before, all zones together,"
        " by the order of the free blocks."
        + (
            " Bars are medians of the runs, lines their range."
            if any(len(c) > 1 for _, c in found)
            else ""
        ),
        draw,
    )


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{ax.size(abs(value))}"


def vmstat(sides: Sequence[Side], order: int) -> list[Picture]:
    """Return how often the events of /proc/vmstat happened that patches are argued with."""
    found = [(side, counters.rates(side.results, "antagonized", order)) for side in sides]
    found = [(side, rates) for side, rates in found if rates]
    names = sorted({name for _, rates in found for name in rates})
    if not names:
        return []

    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(1.0 + 0.2 * len(names), title)
        values = [v for _, rates in found for row in rates.values() for v in row if v > 0]
        low, high = min(values) / 2, max(values) * 2
        for number, (side, rates) in enumerate(found):
            shift = (number - (len(found) - 1) / 2) * 0.3
            colour = getattr(palette, side.key)
            for row, name in enumerate(names):
                runs = rates.get(name, np.zeros(1))
                place, middle = row + shift, float(np.median(runs))
                if len(runs) > 1 and runs.max() > 0:
                    axes.plot([max(runs.min(), low), runs.max()], [place] * 2, color=colour, lw=1.2)
                axes.plot(
                    max(middle, low), place, marker=_MARKERS[side.key], ms=4.5, color=colour,
                    ls="none", clip_on=False, mfc=colour if middle > 0 else palette.paper,
                    label=_of(side) if row == 0 else None,
                )  # fmt: skip
        ax.log_count(axes, low, high)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, pad=8)  # beside the markers of what never happened
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("events per second (log)")
        ax.head(figure, title)
        return figure

    return [
        Picture(
            f"vmstat-order{order}",
            "vmstat",
            order,
            _vmstat_title(found, names, order),
            "Events of /proc/vmstat in the antagonized phase. A hollow marker at the left edge is"
            " none at all"
            + (
                "; markers are medians of the runs, lines their range."
                if any(len(side.results) > 1 for side, _ in found)
                else "."
            ),
            draw,
        )
    ]


def _vmstat_title(
    found: Sequence[tuple[Side, dict[str, counters.Floats]]], names: Sequence[str], order: int
) -> str:
    words = []
    for name in ("allocstall", "compact_stall", "oom_kill"):
        if name in names:
            figures = [
                ax.count(float(np.median(rates.get(name, np.zeros(1))))) for _, rates in found
            ]
            words.append(f"{name} {' → '.join(figures)}/s")
    return f"Order {order}, antagonized phase: {', '.join(words) or 'events of /proc/vmstat'}"


def _of(side: Side) -> str:
    return side.legend


def every(sides: Sequence[Side], orders: Sequence[int]) -> list[Picture]:
    """Return all pictures of a report, order by order."""
    parts = (latencies, available, throughput, free_memory, vmstat)
    return [picture for order in orders for part in parts for picture in part(sides, order)]

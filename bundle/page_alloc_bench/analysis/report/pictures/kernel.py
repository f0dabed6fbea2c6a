# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own counters: free blocks by order, and events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import by_type, counters, spread
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Phase

from .by_type import bars
from .picture import MARKERS, Picture, signed


def free_memory(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return how /proc/buddyinfo changed in each phase of which migratetypes do not tell more."""
    told = {
        phase
        for side in sides
        for span in by_type.changes(side.results, case)
        for phase in set(span)
    }
    made = []
    for phase in (phase for phase in metrics.measured_phases() if phase not in told):
        found = [(side, counters.changes(side.results, phase, case)) for side in sides]
        found = [(side, changes) for side, changes in found if changes.size]
        if found:
            made.append(_buddy(found, phase, case))
    return made


Changes = Sequence[tuple[Side, counters.Floats]]


def _buddy(found: Changes, phase: str, case: Case) -> Picture:
    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(3.2, title)
        bars(axes, found, palette, ticks=6)
        axes.set_xlabel("order of the free blocks")
        ax.head(figure, title)
        return figure

    sums = [float(np.median(changes.sum(axis=1))) for _, changes in found]
    words = " → ".join(signed(value) for value in sums)
    return Picture(
        f"buddyinfo-{phase}-{id_of(case)}",
        "buddyinfo",
        case,
        f"{name_of(case)}, {phase} phase: free memory changed by {words}",
        "What /proc/buddyinfo said after the phase less what it said before, all zones together,"
        " by the order of the free blocks."
        + (
            f" Bars are medians of the runs, lines {spread.WORDS}."
            if any(len(c) > 1 for _, c in found)
            else ""
        ),
        draw,
    )


Events = Sequence[tuple[Side, "dict[str, counters.Floats]"]]


def vmstat(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return how many events of /proc/vmstat an allocation takes that patches are argued with."""
    if case.chosen:  # a phase is of all cases of an order
        return []
    return [
        picture
        for phase in metrics.phases()
        if phase.measured
        for picture in _vmstat(sides, phase, case)
    ]


def _vmstat(sides: Sequence[Side], measured: Phase, case: Case) -> list[Picture]:
    phase, pressed = measured.name, measured.pressed
    found = [(side, counters.per_allocation(side.results, phase, case)) for side in sides]
    found = [(side, rates) for side, rates in found if rates]
    names = sorted({name for _, rates in found for name in rates})
    if not names:
        return []

    return [
        Picture(
            f"vmstat{'' if pressed else f'-{phase}'}-{id_of(case)}",
            "vmstat",
            case,
            f"{name_of(case)}, {phase} phase: {_events(found, names)}",
            f"Events of /proc/vmstat in the {phase} phase, by the allocations that the module made"
            " in it. A hollow marker at the left edge is none at all"
            + (
                f"; markers are medians of the runs, lines {spread.WORDS}."
                if any(len(side.results) > 1 for side, _ in found)
                else "."
            ),
            lambda palette, title: _draw_events(found, names, palette, title),
        )
    ]


def _draw_events(
    found: Events, names: Sequence[str], palette: Palette, title: str | None
) -> Figure:
    figure, axes = ax.figure(1.0 + 0.23 * len(names), title)
    values = [v for _, rates in found for row in rates.values() for v in row if v > 0]
    low, high = min(values) / 2, max(values) * 2
    for number, (side, rates) in enumerate(found):
        shift = (number - (len(found) - 1) / 2) * 0.3
        colour = getattr(palette, side.key)
        for row, name in enumerate(names):
            runs = rates.get(name, np.zeros(1))
            place, middle = row + shift, float(np.median(runs))
            ends = spread.ends(runs)
            if len(runs) > 1 and ends[1] > 0:
                reach = [max(float(end), low) for end in ends]
                axes.plot(reach, [place] * 2, color=colour, lw=1.2)
            axes.plot(
                max(middle, low), place, marker=MARKERS[side.key], ms=4.5, color=colour,
                ls="none", clip_on=False, mfc=colour if middle > 0 else palette.paper,
                label=side.legend if row == 0 else None,
            )  # fmt: skip
    ax.log_count(axes, low, high)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, pad=8)  # beside the markers of what never happened
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("per million allocations (log)")
    ax.head(figure, title)
    return figure


def _events(found: Events, names: Sequence[str]) -> str:
    words = []
    for name in ("allocstall", "compact_stall", "oom_kill"):
        if name in names:
            figures = [
                ax.count(float(np.median(rates.get(name, np.zeros(1))))) for _, rates in found
            ]
            words.append(f"{name} {' → '.join(figures)}")
    if not words:
        return "events of /proc/vmstat"
    return f"{', '.join(words)} per million allocations"

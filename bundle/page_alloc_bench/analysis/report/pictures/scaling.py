# SPDX-License-Identifier: GPL-2.0-only
"""Rates by the number of CPUs: the curve, its knee, and what it would be without any loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from page_alloc_bench.analysis import scaling as curves_of
from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report import spread
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.analysis.scaling import Curve
from page_alloc_bench.runner.result.case import Case

from .picture import LINES, MARKERS, Picture

_HOST = 8  # characters of a host's identity that tell it from others


def scaling(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return how each rate of a case of all CPUs grows with their number, on each host."""
    found: dict[tuple[str, str], list[tuple[Side, Curve]]] = {}
    for side in sides:
        for curve in curves_of.curves(side.results):
            if curve.case == case:
                found.setdefault((curve.rate.name, curve.host), []).append((side, curve))
    several = len({host for _, host in found}) > 1
    return [
        _picture(each, case, f" on host {host[:_HOST] or 'unknown'}" if several else "")
        for (_, host), each in found.items()
    ]


def _picture(found: Sequence[tuple[Side, Curve]], case: Case, where: str) -> Picture:
    rate = found[0][1].rate
    words = " → ".join(_knee(curve) for _, curve in found)
    return Picture(
        f"scaling-{rate.name.replace('_', '-')}-{id_of(case)}{where.replace(' ', '-')}",
        f"scaling-{rate.section}",
        case,
        f"{name_of(case)}, {rate.label} by CPUs{where}: {words}",
        "The rate of all CPUs together by their number, in the order in which they were taken; the"
        " thin line is what the fewest would make if more were not in each other's way. A ring is"
        f" the knee: the last number of which each does {100 * curves_of.KEPT:.0f} % of that."
        + (
            f" Lines are medians of the runs, bars {spread.WORDS}."
            if any(len(side.results) > 1 for side, _ in found)
            else ""
        ),
        lambda palette, title: _draw(found, palette, title),
        part=f"Scaling: {rate.label}",
    )


def _knee(curve: Curve) -> str:
    kept = f"{100 * curve.efficiency:.0f} % kept on {max(curve.points)}"
    return kept if curve.knee is None else f"knee at {curve.knee}, {kept}"


def _draw(found: Sequence[tuple[Side, Curve]], palette: Palette, title: str | None) -> Figure:
    figure, axes = ax.figure(3.4, title)
    most = 0.0
    for side, curve in found:
        colour = getattr(palette, side.key)
        cpus, rates = np.array(curve.middles, float).T
        ends = np.array([spread.ends(curve.points[int(n)]) for n in cpus]).T
        reach = np.maximum([rates - ends[0], ends[1] - rates], 0)
        axes.errorbar(
            cpus, rates, yerr=reach if len(side.results) > 1 else None, color=colour,
            ls=LINES[side.key], marker=MARKERS[side.key], ms=5.5, capsize=2, elinewidth=1.2,
            label=side.legend,
        )  # fmt: skip
        axes.plot(cpus, rates[0] / cpus[0] * cpus, color=colour, lw=0.7, alpha=0.7)
        if curve.knee is not None:
            axes.plot(
                [curve.knee], [dict(curve.middles)[curve.knee]], ls="none", marker="o", ms=13,
                mfc="none", color=colour, gid=f"knee-{side.key}",
            )  # fmt: skip
        most = max(most, float(ends[1].max()))
    axes.set_xlim(left=0)
    axes.set_ylim(0, most * 1.12)
    numbers = sorted({n for _, curve in found for n in curve.points})
    if len(numbers) <= 8:
        axes.xaxis.set_major_locator(FixedLocator(numbers))
    ax.value_axis(axes.yaxis, most, found[0][1].rate.unit)
    axes.set_xlabel("CPUs")
    axes.set_ylabel("all CPUs together")
    ax.head(figure, title)
    return figure

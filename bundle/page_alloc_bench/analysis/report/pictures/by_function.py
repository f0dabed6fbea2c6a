# SPDX-License-Identifier: GPL-2.0-only
"""Counted instructions by function of the kernel: what made the difference, or what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from page_alloc_bench.analysis.instructions import counted, path_length
from page_alloc_bench.analysis.instructions.path_length import Difference, Function
from page_alloc_bench.analysis.report import axes as ax
from page_alloc_bench.analysis.report.palette import Palette
from page_alloc_bench.analysis.report.sides import Side, id_of, name_of
from page_alloc_bench.runner.result.case import Case

from .picture import Picture

SECTION = "instructions"
PART = "Instructions by function"
_MOST = 14  # functions that have a bar of their own
_ROOM = 0.3  # of the width of the bars, for the numbers at their ends
_NAME = 30  # characters of a name


def by_function(sides: Sequence[Side], case: Case) -> list[Picture]:
    """Return, of each pattern, the functions that differ, or that one side has; none of times."""
    if not all(counted.is_counted(result) for side in sides for result in side.results):
        return []
    if len(sides) == 1:
        return _of_one(sides[0], case)
    found = counted.differences(sides[0].results, sides[1].results)
    return [_of_two(each, case) for each in found if each.order == case.order and each.functions]


def _of_two(each: Difference, case: Case) -> Picture:
    assert each.functions is not None, "as selected by the caller"
    found = each.functions
    bars = [(f.name, f.change.instructions) for f in [*found.parts[:_MOST], *_rest(found)]]
    whole = found.whole
    title = (
        f"{name_of(case)}, {each.pattern}: {whole.base.instructions:,.2f} → "
        f"{whole.new.instructions:,.2f} instructions, {whole.change.instructions:+,.2f}"
    )
    text = (
        "What one allocation and its free cost more, or less, in each function of the kernel. The "
        f"bars add up to {whole.change.instructions:+,.2f}. Boots of base differ by "
        f"{each.base_spread:.4f}, those of new by {each.new_spread:.4f}."
    )
    return _picture(each.pattern, case, title, text, _bars(bars, "change in instructions", "+"))


def _rest(found: path_length.ByFunction) -> list[Function]:
    """Return the module's own and all functions that have no bar, as one each."""
    left = found.rest
    for part in found.parts[_MOST:]:
        left = Function(left.name, left.base + part.base, left.new + part.new)
    return [found.module, Function("all others", left.base, left.new)]


def _of_one(side: Side, case: Case) -> list[Picture]:
    boots = counted.side(side.key, side.results)
    made = []
    for path in boots.cases():
        whole = boots.whole(path)
        if path.order != case.order or whole is None:
            continue
        costs = {name: cost.instructions for name, cost in boots.functions(path).items()}
        named = sorted(costs, key=lambda name: (-costs[name], name))[:_MOST]
        left = whole.instructions - sum(costs[name] for name in named)
        bars = [*((name, costs[name]) for name in named), ("all others", left)]
        title = f"{name_of(case)}, {path.pattern}: {whole.instructions:,.2f} instructions"
        text = "What one allocation and its free cost in each function of the kernel."
        drawn = _bars(bars, "instructions of an operation", "")
        made.append(_picture(path.pattern, case, title, text, drawn))
    return made


def _picture(
    pattern: str,
    case: Case,
    title: str,
    text: str,
    draw: Callable[[Palette, str | None], Figure],
) -> Picture:
    name = f"{SECTION}-{pattern}-{id_of(case)}"
    return Picture(name, SECTION, case, title, text, draw, part=PART)


def _bars(
    bars: Sequence[tuple[str, float]], label: str, sign: str
) -> Callable[[Palette, str | None], Figure]:
    """Return what draws a bar for each name, the first on top, with its value at its end."""

    def draw(palette: Palette, title: str | None) -> Figure:
        figure, axes = ax.figure(0.75 + 0.21 * len(bars), title)
        values = np.array([value for _, value in bars])
        places = np.arange(len(bars))
        more = values >= 0
        for rising, colour, hatch in ((True, palette.new, "////"), (False, palette.base, "")):
            chosen = more == rising
            axes.barh(
                places[chosen], values[chosen], 0.7, lw=0, edgecolor=palette.paper,
                color=colour if sign else palette.base, hatch=hatch if sign else "",
            )  # fmt: skip
        for place, value in zip(places, values):
            axes.annotate(
                f"{value:{sign},.2f}", (value, place), (4 if value >= 0 else -4, 0), fontsize=8.5,
                textcoords="offset points", va="center", ha="left" if value >= 0 else "right",
            )  # fmt: skip
        axes.set_yticks(places, [_short(name) for name, _ in bars])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.axvline(0, color=palette.ink, lw=0.8)
        low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
        room = _ROOM * ((high - low) or 1.0)
        axes.set_xlim(low - (room if low < 0 else 0), high + (room if high > 0 or low == 0 else 0))
        axes.set_xlabel(label)
        ax.head_without_legend(figure, title)
        return figure

    return draw


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"

# SPDX-License-Identifier: GPL-2.0-only
"""How every picture is drawn: its frame, its fonts, the ticks of its axes, numbers with units."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from page_alloc_bench.analysis import amounts
from page_alloc_bench.runner.result import units

from .palette import Palette

WIDTH = 5.6  # inches; in a page, 403 units of the picture, and of a telephone's screen
# Units of the picture. At 400 pixels a page has 376 for 403 units: no text is below 11 pixels.
FONT = 12
_TITLE_COLUMNS = 50

SPACE = "\N{NO-BREAK SPACE}"  # a number and its unit stay together


@contextmanager
def style(palette: Palette) -> Iterator[None]:
    """Draw within this in the colours of palette."""
    ink = palette.ink
    with mpl.rc_context(
        {
            "text.parse_math": False,  # a release may have a dollar in it
            "font.family": "sans-serif",
            "font.size": FONT,
            "text.color": ink,
            "axes.edgecolor": palette.faint,
            "axes.labelcolor": ink,
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": palette.faint,
            "grid.linewidth": 0.6,
            "xtick.color": palette.faint,
            "ytick.color": palette.faint,
            "xtick.labelcolor": ink,
            "ytick.labelcolor": ink,
            "xtick.labelsize": FONT,
            "ytick.labelsize": FONT,
            "legend.frameon": False,
            "legend.fontsize": FONT,
            "figure.facecolor": palette.paper,
            "hatch.linewidth": 0.6,
        }
    ):
        yield


def figure(height: float, title: str | None) -> tuple[Figure, Axes]:
    """Return a figure with one axes; title: what a picture outside of a page has on its top."""
    lines = len(_wrap(title).splitlines()) if title else 0
    made = Figure(figsize=(WIDTH, height + 0.2 * lines), layout="constrained")
    return made, made.add_subplot()


def head(figure: Figure, title: str | None, columns: int = 1) -> None:
    """Put title and legend above the axes, where they hide nothing and have the whole width."""
    figure.legend(
        loc="outside upper left",
        ncols=columns,
        title=_wrap(title) if title else None,
        title_fontproperties={"size": FONT, "weight": "bold"},
        alignment="left",
        borderpad=0.1,
        borderaxespad=0.2,
        handlelength=2.2,
    )


def head_without_legend(figure: Figure, title: str | None) -> None:
    """Put the title above axes that name their sides themselves."""
    if title:
        figure.suptitle(_wrap(title), x=0.02, ha="left", fontsize=FONT, fontweight="bold")


def _wrap(title: str) -> str:
    return textwrap.fill(title, _TITLE_COLUMNS)


def time(value: float) -> str:
    """Return a duration in ns as people write it: 4.9 µs."""
    return quantity(value, "ns")


def size(value: float) -> str:
    """Return an amount of bytes as people write it: 1.7 GiB."""
    return quantity(value, "bytes")


def count(value: float) -> str:
    """Return a number of something as people write it: 198 k."""
    return _scaled(value, units.COUNT)


def quantity(value: float, unit: str) -> str:
    """Return a value of a metric's unit as people write it."""
    return _scaled(value, units.of(unit))


def _scaled(value: float, of: units.Units) -> str:
    return amounts.scaled(value, of, units.three, SPACE, micro=units.MICRO)


def _tick(value: float, of: units.Units) -> str:
    """Return a round value as short as it can be written."""
    return amounts.scaled(value, of, units.short, " ", micro=units.MICRO)


def log_time(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic in time, from low to high ns, with ticks that are round."""
    _log(axes, low, high, units.TIME)


def log_count(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic in numbers."""
    _log(axes, low, high, units.COUNT)


def _log(axes: Axes, low: float, high: float, of: units.Units) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(list(log_ticks(low, high))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, of)))


def log_ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Return at most about so many round values between low and high."""
    decades = math.log10(high / low)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    if decades < 0.7:
        values = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [float(value) for value in values if low <= value <= high and value > 0]
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**e for e in exponents for m in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def value_axis(axis: Axis, largest: float, unit: str) -> None:
    """Write an axis's ticks in the unit that suits largest, which is in a metric's unit."""
    name, factor = units.best(largest, units.of(unit))
    axis.set_major_locator(_ScaledLocator(factor))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / factor:g} {name}".strip()))


def mark_cut(axes: Axes, palette: Palette) -> None:
    """Mark a y axis that does not begin at zero by two strokes through its lower end."""
    if axes.get_ylim()[0] <= 0:
        return
    for height in (0.025, 0.045):
        axes.plot(
            [-0.012, 0.012], [height - 0.012, height + 0.012], transform=axes.transAxes,
            color=palette.ink, lw=1.0, clip_on=False, scalex=False, scaley=False, gid="cut",
        )  # fmt: skip


class _ScaledLocator(MaxNLocator):
    """Ticks that are round in a unit."""

    def __init__(self, factor: float) -> None:
        super().__init__(6, steps=[1, 2, 2.5, 5, 10])
        self._factor = factor

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the ticks between two amounts."""
        ticks = super().tick_values(vmin / self._factor, vmax / self._factor)
        return [float(tick) * self._factor for tick in np.round(ticks, 6)]

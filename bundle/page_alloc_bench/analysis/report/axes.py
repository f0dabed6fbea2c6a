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

from .palette import Palette

WIDTH = 5.6  # inches; in a page, 403 units of the picture, and of a telephone's screen
_TITLE_COLUMNS = 56

SPACE = "\N{NO-BREAK SPACE}"  # a number and its unit stay together
Units = Sequence[tuple[str, float]]

_TIME = (("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9))
_BYTES = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40))
_COUNT = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))


@contextmanager
def style(palette: Palette) -> Iterator[None]:
    """Draw within this in the colours of palette."""
    ink = palette.ink
    with mpl.rc_context(
        {
            "text.parse_math": False,  # a release may have a dollar in it
            "font.family": "sans-serif",
            "font.size": 9.5,
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
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 9,
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


def head(figure: Figure, title: str | None) -> None:
    """Put title and legend above the axes, where they hide nothing and have the whole width."""
    figure.legend(
        loc="outside upper left",
        title=_wrap(title) if title else None,
        title_fontproperties={"size": 10, "weight": "bold"},
        alignment="left",
        borderpad=0.1,
        borderaxespad=0.2,
        handlelength=2.2,
    )


def head_without_legend(figure: Figure, title: str | None) -> None:
    """Put the title above axes that name their sides themselves."""
    if title:
        figure.suptitle(_wrap(title), x=0.02, ha="left", fontsize=10, fontweight="bold")


def _wrap(title: str) -> str:
    return textwrap.fill(title, _TITLE_COLUMNS)


def time(value: float) -> str:
    """Return a duration in ns as people write it: 4.9 µs."""
    return _scaled(value, _TIME)


def size(value: float) -> str:
    """Return an amount of bytes as people write it: 1.7 GiB."""
    return _scaled(value, _BYTES)


def count(value: float) -> str:
    """Return a number of something as people write it: 198 k."""
    return _scaled(value, _COUNT).strip()


def unit_of_bytes(largest: float) -> tuple[str, float]:
    """Return the unit that largest is read best in, and its size."""
    return _unit(largest, _BYTES)


def _scaled(value: float, units: Units) -> str:
    if not math.isfinite(value):
        return "unknown"
    name, factor = _unit(value, units)
    return f"{_digits(value / factor)}{SPACE}{name}"


def _tick(value: float, units: Units) -> str:
    """Return a round value as short as it can be written."""
    name, factor = _unit(value, units)
    return f"{value / factor:g} {name}".strip()


def _unit(value: float, units: Units) -> tuple[str, float]:
    """Return the largest unit that value is at least one of."""
    return next((u for u in reversed(units) if abs(value) >= u[1] * 0.9995), units[0])


def _digits(value: float) -> str:
    """Return three digits, or all of a whole number."""
    if value == round(value) and abs(value) < 1000:
        return f"{value:.0f}"
    magnitude = abs(value)
    return f"{value:,.{0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2}f}"


def log_time(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic in time, from low to high ns, with ticks that are round."""
    _log(axes, low, high, _TIME)


def log_count(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic in numbers."""
    _log(axes, low, high, _COUNT)


def _log(axes: Axes, low: float, high: float, units: Units) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(list(log_ticks(low, high))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, units)))


def log_ticks(low: float, high: float, most: int = 7) -> Sequence[float]:
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


def bytes_axis(axis: Axis, largest: float) -> None:
    """Write an axis's ticks in the unit of bytes that suits largest."""
    name, factor = unit_of_bytes(largest)
    axis.set_major_locator(_BinaryLocator(factor))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / factor:g} {name}"))


class _BinaryLocator(MaxNLocator):
    """Ticks that are round in a unit of bytes."""

    def __init__(self, factor: float) -> None:
        super().__init__(6, steps=[1, 2, 2.5, 5, 10])
        self._factor = factor

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the ticks between two amounts."""
        ticks = super().tick_values(vmin / self._factor, vmax / self._factor)
        return [float(tick) * self._factor for tick in np.round(ticks, 6)]

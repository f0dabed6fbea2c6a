# SPDX-License-Identifier: GPL-2.0-only
"""How a figure is written for people: in which unit, and with how many digits.

The unit of a metric leads to the units that it is told in, from small to large: name, and how many
of the metric's own it is.
"""

from __future__ import annotations

from collections.abc import Sequence

Units = Sequence[tuple[str, float]]

BYTES: Units = (
    ("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40),
)  # fmt: skip
TIME: Units = (("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9))
COUNT: Units = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
PER_SECOND: Units = tuple((f"{name}/s", size) for name, size in COUNT)
MICRO = "µ"  # for the u of us, where more than ASCII is sure to be shown

# A value is told in a unit of which it is nearly one: 999.9 ns are 1.00 us with three digits.
NEARLY = 0.9995


def of(unit: str) -> Units:
    """Return the units that values of a metric's unit are told in."""
    if unit == "ns":
        return TIME
    if unit == "bytes":
        return BYTES
    if unit.endswith("/s"):
        return PER_SECOND
    return COUNT if unit not in ("ppm", "") else ((unit, 1.0),)


def best(value: float, units: Units, nearly: float = NEARLY) -> tuple[str, float]:
    """Return the largest of units that value is nearly one of or more, and its size."""
    return next((u for u in reversed(units) if abs(value) >= u[1] * nearly), units[0])


def four(value: float) -> str:
    """Return four digits, or all of a large number."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def three(value: float) -> str:
    """Return three digits, or all of a whole number."""
    if value == round(value) and abs(value) < 1000:
        return f"{value:.0f}"
    magnitude = abs(value)
    return f"{value:,.{0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2}f}"


def short(value: float) -> str:
    """Return a round number as short as it can be written."""
    return f"{value:g}"


def size(size_bytes: float, decimals: int = 2) -> str:
    """Return an amount of memory in GiB, such as "1.93 GiB"."""
    return f"{size_bytes / BYTES[3][1]:,.{decimals}f} GiB"


def mib(size_bytes: float) -> str:
    """Return an amount of memory in MiB without its unit, such as "1,234.5"."""
    return f"{size_bytes / BYTES[2][1]:,.1f}"


def whole_kib(size_bytes: int) -> str:
    """Return it in whole KiB, rounded down, such as "64 KiB"."""
    return f"{size_bytes >> 10} KiB"


def whole_mib(size_bytes: int) -> str:
    """Return an amount of memory in whole MiB, rounded down, such as "1234 MiB"."""
    return f"{size_bytes >> 20} MiB"

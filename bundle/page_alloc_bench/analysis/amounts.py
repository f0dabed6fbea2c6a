# SPDX-License-Identifier: GPL-2.0-only
"""How a figure is written with the unit that suits it, the same in texts and in pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

from page_alloc_bench.runner.result.units import NEARLY, Units, best


def scaled(
    value: float,
    units: Units,
    digits: Callable[[float], str],
    space: str = "",
    *,
    micro: str = "u",
    nearly: float = NEARLY,
) -> str:
    """Return a value with the unit that suits it. digits: writes the number.

    space: between number and unit. micro: for the u of us. nearly: as in best().
    """
    if not math.isfinite(value):
        return "unknown"
    name, size = best(value, units, nearly)
    name = f"{micro}s" if name == "us" else name
    between = "" if name.startswith("/") or not name else space
    return f"{digits(value / size)}{between}{name}"

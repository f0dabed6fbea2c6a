# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel keeps free for itself: the watermarks of its zones, in /proc/zoneinfo.

They rise for a while where blocks of a wrong migratetype were taken (boost_watermark(),
mm/page_alloc.c): by vm.watermark_boost_factor ten-thousandths of the high watermark at most. What
/proc/zoneinfo has as "min" and "high" is with that, and "boost" says how much it is; older kernels
do not tell (zoneinfo_show_print(), mm/vmstat.c).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from . import memory

_WHOLE = 10_000


class Watermarks(NamedTuple):
    """Of all zones together, in pages, without a boost; boost: the largest that may come."""

    least: int
    high: int
    boost: int


def read(root: str = "/") -> Watermarks:
    """Return them; ROOT is for tests. Raises OSError without /proc/zoneinfo."""
    sums = {"min": 0, "high": 0, "boost": 0}
    with open(os.path.join(root, "proc/zoneinfo"), encoding="ascii") as file:
        for line in file:
            name, _, value = line.strip().partition(" ")
            if name in sums:
                sums[name] += int(value)
    high = sums["high"] - sums["boost"]
    factor = int(memory.sysctl("vm.watermark_boost_factor", root) or 0)
    return Watermarks(sums["min"] - sums["boost"], high, high * factor // _WHOLE)

# SPDX-License-Identifier: GPL-2.0-only
"""Patterns beside the floor module, which makes the same calls to the allocator and no others.

The guest counts instructions, so a nanosecond of its time is one.
"""

from __future__ import annotations

import lab
from page_alloc_bench.targets.guest import Guest

ALLOCS = 200_000
# Of each pattern its parameters, and those of the floor that make it do the same.
PATTERNS = {
    "antagonist": ({"held": 1000, "spread": 1000}, {"bursts": 600}),
    "pairs": ({"held": 0, "every": 1}, {"pairs": ALLOCS}),
    "bursts": ({"depth": 1000, "release": 0}, {"depth": 1000, "bursts": ALLOCS // 1000}),
    "bulk": ({"pages": 64}, {"bulk": 64, "bursts": ALLOCS // 64}),
}
# Where no list of a CPU holds a block, all states of its buddy are gone through.
_LARGE_PAIRS = ({"held": 63, "every": 1000}, {"pairs": ALLOCS, "held": 63, "every": 1000})
_FINISH = """
import json, time
from page_alloc_bench.runner.module.device import Device

with Device() as session:
    session.configure(pattern={pattern!r}, parameters={parameters}, order={order}, seed=1, cpus=[0],
                      time_one_in={one_in}, sample_capacity=1000, allocs={allocs})
    session.start()
    while not session.progress().finished:
        time.sleep(0.1)
    session.stop()
    stats = session.cpu_stats(0)
print(json.dumps((stats.end_ns - stats.begin_ns) / stats.allocs))
"""


def _parameters(pattern: str, order: int) -> tuple[dict[str, int], dict[str, int]]:
    return _LARGE_PAIRS if (pattern, order) == ("pairs", 4) else PATTERNS[pattern]


def bare(guest: Guest, pattern: str, order: int = 0) -> float:
    """Return the instructions of an allocation and its free in a bare loop."""
    _, words = _parameters(pattern, order)
    seen = lab.floor(guest, order=order, **words)
    return (seen["alloc_ns"] + seen["free_ns"]) / seen["allocs"]


def ours(guest: Guest, pattern: str, order: int = 0, *, one_in: int) -> float:
    """Return the same of the module, which is loaded: it times one operation in ONE_IN, or none."""
    parameters, _ = _parameters(pattern, order)
    code = _FINISH.format(
        pattern=pattern, parameters=parameters, order=order, one_in=one_in, allocs=ALLOCS
    )
    cost: float = lab.python(guest, code)
    return cost

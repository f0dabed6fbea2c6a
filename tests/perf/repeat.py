# SPDX-License-Identifier: GPL-2.0-only
"""How far runs differ that measure the same: the coefficient of variation of five."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import lab
from page_alloc_bench.targets.guest import Guest
from perf.antagonist import RUN
from perf.figures import Figure, at_most

RUNS = 5


def memory(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Compare whole runs in one guest, each by the median of its iterations.

    The first run of a boot finds memory that nobody has touched, and is left out.
    """
    guest.copy_to(bundle, "/root/bench.run")
    medians = []
    for _ in range(RUNS + 1):
        done = guest.run("/root/bench.run --alloc-orders 0 --quiet", timeout=1200)
        medians.append(statistics.median(json.loads(done.stdout)["idle_available_bytes_order0"]))
    yield at_most("idle memory over five runs, coefficient of variation, %", _cv(medians[1:]), 0.5)


def rate(guest: Guest) -> Iterator[Figure]:
    """Compare by instructions: the antagonist does the same each time, and so must the clock."""
    for order in (0, 4):
        rates = []
        for _ in range(RUNS):
            guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
            rates.append(lab.python(guest, RUN.format(order=order, seconds=0.5))["per_second"])
            guest.run("rmmod page_alloc_bench")
        yield at_most(
            f"allocations/s over five runs, order {order}, coefficient of variation, %",
            _cv(rates),
            0.1,
        )


def _cv(values: Sequence[float]) -> float:
    """The standard deviation as a percentage of the mean."""
    return 100 * statistics.stdev(values) / statistics.mean(values)

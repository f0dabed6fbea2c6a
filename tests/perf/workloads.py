# SPDX-License-Identifier: GPL-2.0-only
"""The workloads of rates: what they add to a bare loop, and what one of them isolates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import floors
import lab
from page_alloc_bench.runner.module import abi, sampling
from page_alloc_bench.targets.guest import Guest
from perf.figures import Figure, at_least, at_most

_ORDERS = {"bulk": (0,)}  # it asks for pages


def against_floor(guest: Guest) -> Iterator[Figure]:
    """Compare by instructions, which no other load of this machine can disturb."""
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    for pattern in floors.PATTERNS:
        for order in _ORDERS.get(pattern, (0, 4)):
            floor = floors.bare(guest, pattern, order)
            timed = floors.ours(guest, pattern, order, one_in=sampling.ONE_IN)
            untimed = floors.ours(guest, pattern, order, one_in=0)
            named = f"bare loop / {pattern}, order {order}, by instructions"
            yield at_least(named, floor / timed, 0.97)
            yield at_least(f"{named}, none timed", floor / untimed, 0.98)
    untimed, hardly = (floors.ours(guest, "pairs", one_in=n) for n in (0, abi.MAX_TIME_ONE_IN))
    name = f"what timing one pair in {abi.MAX_TIME_ONE_IN} adds to each, instructions"
    yield at_most(name, abs(hardly - untimed), 0.1)
    guest.run("rmmod page_alloc_bench")


def isolated(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Count by the kernel's tracepoints what a funnel takes out of the zone."""
    target = "/root/bench.run"
    guest.copy_to(bundle, target)
    options = "--workload funnel --alloc-orders 0 --counters --duration-s 1 --repeat 1"
    result = json.loads(guest.run(f"{target} {options}", timeout=600).stdout)
    zone = sum(result[f"funnel_{of}_pages_order0"][0] for of in ("refilled", "zone"))
    share = zone / result["funnel_counted_pages_order0"][0]
    yield at_least("funnel: share of the pages that come from the zone, order 0", share, 0.95)

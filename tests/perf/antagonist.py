# SPDX-License-Identifier: GPL-2.0-only
"""The antagonist against the least that its pattern can cost."""

from __future__ import annotations

from collections.abc import Iterator

import lab
from page_alloc_bench.targets.guest import Guest
from perf.figures import Figure, at_least

# What a run with default options configures, for so long past the steady state.
RUN = """
import json, os, time
from page_alloc_bench.runner.module import sampling
from page_alloc_bench.runner.module.device import Device
from page_alloc_bench.runner.module.sampling import TIME_ONE_IN

cpus = sorted(os.sched_getaffinity(0))
with Device() as session:
    session.configure(pattern="antagonist", parameters={{"held": 1000, "spread": 1000}},
                      order={order}, seed=1, cpus=cpus, time_one_in=TIME_ONE_IN["sampled"],
                      sample_capacity=sampling.capacity_per_cpu(50000, len(cpus)))
    session.start()
    while session.progress().steady < len(cpus):
        time.sleep(0.02)
    first = session.progress()
    before = [session.cpu_stats(cpu).allocs for cpu in cpus]
    time.sleep({seconds})
    last = session.progress()
    after = [session.cpu_stats(cpu).allocs for cpu in cpus]
    session.stop()
print(json.dumps({{
    "per_second": (last.allocs - first.allocs) * 1e9 / (last.time_ns - first.time_ns),
    "per_cpu": [a - b for a, b in zip(after, before)]}}))
"""


def against_floor(guest: Guest) -> Iterator[Figure]:
    """Compare by instructions, which no other load of this machine can disturb."""
    for order in (0, 4):
        guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
        ours = lab.python(guest, RUN.format(order=order, seconds=0.5))["per_second"]
        guest.run("rmmod page_alloc_bench")
        floor = lab.floor(guest, order=order, bursts=1000)
        bare = floor["allocs"] * 1e9 / (floor["alloc_ns"] + floor["free_ns"])
        yield at_least(f"antagonist / bare loop, order {order}, by instructions", ours / bare, 0.97)


def over_cpus(guest: Guest) -> Iterator[Figure]:
    """Compare the CPUs of one guest with each other."""
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    for order in (0, 4):
        counts = lab.python(guest, RUN.format(order=order, seconds=5))["per_cpu"]
        share = min(counts) / max(counts)
        yield at_least(
            f"allocations per CPU, min / max of {len(counts)}, order {order}", share, 0.5
        )
    guest.run("rmmod page_alloc_bench")

# SPDX-License-Identifier: GPL-2.0-only
"""The latencies we print are those of the allocator, by count of instructions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import floors
import lab
from page_alloc_bench.targets.guest import Guest

RUN = """
import json, time
from page_alloc_bench.runner.module.device import Device

with Device() as session:
    session.configure(pattern="antagonist", parameters={{"held": 1000, "spread": 1000}},
                      order={order}, seed=1, cpus=[0], time_one_in=64, sample_capacity=1000)
    session.start()
    time.sleep(0.5)
    session.stop()
    stats = session.cpu_stats(0)
    means = {{}}
    for kind in ("alloc", "free"):
        seen = session.latency(0, kind)
        means[kind] = seen.total_ns / seen.timed
    print(json.dumps({{**means, "clock_ns": stats.clock_cost_ps / 1000,
                      "step_ns": stats.clock_step_ns}}))
"""


@pytest.fixture(scope="module")
def counted() -> Iterator[Guest]:
    """A guest in which an instruction takes a nanosecond."""
    with Guest("6.1", icount=True, cmdline_extra="init_on_alloc=0") as guest:
        lab.install(guest)
        guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
        yield guest


@pytest.mark.parametrize("order", [0, 4])
def test_latencies_agree_with_the_floor(counted: Guest, order: int) -> None:
    ours = lab.python(counted, RUN.format(order=order))
    bare = lab.floor(counted, order=order, bursts=500)
    # A latency holds one clock read; the floor's mean holds the loop around the call instead.
    for kind, total_ns, count in (("alloc", "alloc_ns", "allocs"), ("free", "free_ns", "frees")):
        floor_ns = bare[total_ns] / bare[count]
        assert ours[kind] - ours["clock_ns"] == pytest.approx(floor_ns, rel=0.10)
        # So little that a constant added by mistake, as one clock read too many, would show.
        assert ours[kind] == pytest.approx(floor_ns + ours["clock_ns"], abs=40)


@pytest.mark.parametrize("pattern", floors.PATTERNS)
def test_a_pattern_costs_hardly_more_than_a_bare_loop(counted: Guest, pattern: str) -> None:
    """With every 64th operation timed, as runs do, and with none."""
    bare = floors.bare(counted, pattern)
    for one_in, least in ((64, 0.97), (0, 0.98)):
        assert least < bare / floors.ours(counted, pattern, one_in=one_in) <= 1.005


def test_the_clock_is_calibrated(counted: Guest) -> None:
    """A read of the TSC clock takes some 50 instructions, with or without a round's loop."""
    seen = lab.python(counted, RUN.format(order=0))
    assert 20 < seen["step_ns"] <= seen["clock_ns"] < 1.5 * seen["step_ns"]

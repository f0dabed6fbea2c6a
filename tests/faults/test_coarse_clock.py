# SPDX-License-Identifier: GPL-2.0-only
"""A run on a kernel whose clock advances with the timer only: no latency is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import by_schema
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(15)
TICK_NS = 4_000_000  # Debian's CONFIG_HZ is 250
TICKING = "clocksource=jiffies highres=off nohz=off"
OPTIONS = "--iterations=1 --alloc-orders=0 --held=200 --spread=100 --output-path=/root/result.json"


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="512M", cmdline_extra=TICKING) as guest:
        guest.copy_to(bundle, "/root/bench.run")
        yield guest


@pytest.fixture(scope="module")
def ran(host: Guest) -> tuple[str, dict[str, Any]]:
    """What a run said, and its result."""
    clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert host.run(["cat", clock]).stdout == "jiffies\n"
    done = host.run(f"/root/bench.run {OPTIONS}")
    return done.stderr, json.loads(host.run("cat /root/result.json").stdout)


def test_the_tick_is_found_on_each_cpu(ran: tuple[str, dict[str, Any]]) -> None:
    assert [clock["step_ns"] for clock in ran[1]["run"]["clocks"]] == [TICK_NS, TICK_NS]
    assert [clock["cost_ps"] for clock in ran[1]["run"]["clocks"]] == [None, None]


@pytest.mark.attempt(
    "a clock with ticks of milliseconds", "what is below is marked, and warned of", "a whole run"
)
def test_what_is_shorter_than_a_tick_is_marked(ran: tuple[str, dict[str, Any]]) -> None:
    said, document = ran
    by_schema.hold(document)
    for name in ("alloc", "free"):
        (timed,) = document[f"kernel_page_{name}s_timed_order0"]
        (below,) = document[f"kernel_page_{name}s_below_clock_step_order0"]
        counts = document[f"kernel_page_{name}_latency_histogram_order0"]
        assert timed > 100
        assert below == counts[0]
        assert 0.9 * timed < below <= timed
        assert set(document[f"kernel_page_{name}_latencies_ns_order0"]) <= {
            tick * TICK_NS for tick in range(1000)
        }
    (row,) = (line for line in said.splitlines() if line.startswith("  free, "))
    assert row.split()[3].startswith("<4")
    told = [text for text in document["run"]["warnings"] if "shorter than 4,000,000 ns" in text]
    assert len(told) == 2
    assert "finer clocksource" in told[0]

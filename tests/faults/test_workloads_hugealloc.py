# SPDX-License-Identifier: GPL-2.0-only
"""Huge pages beside churn: what the kernel counts of them, and how a run ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab
from faults.huge_page_runs import end_and_find_every_page_back, guest, run
from page_alloc_bench.targets.guest import Guest

HUGE = 9  # order of a huge page of x86-64


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with guest(bundle) as booted:
        yield booted


def one(result: dict[str, Any], name: str) -> int:
    (value,) = result[f"hugealloc_{name}_order{HUGE}"]
    return int(value)


def test_huge_pages_beside_churn_are_those_that_the_kernel_counts(host: Guest) -> None:
    for seed in range(1, 6):
        if counted_by_the_kernel(host, seed):
            return
    pytest.fail("each huge page that was asked for was had, in five runs")


def counted_by_the_kernel(host: Guest, seed: int) -> bool:
    """Measure once, and hold the counts to the kernel's; return whether the kernel refused any."""
    before = lab.free_bytes(host)
    options = f"hugealloc --counters --duration-s 4 --repeat 1 --huge-per-second 32 --seed {seed}"
    result = run(host, options)
    (phase,) = result["run"]["phases"]
    (case,) = result["run"]["workloads"][0]["cases"]
    delta = phase["vmstat_delta"]
    asked = one(result, "asked_pages")
    assert 4 * 16 < asked == 4 * case["parameters"]["huge_per_second"]
    # What is held beside it, so that nothing whole is left, are huge pages too.
    kernel = delta["thp_fault_alloc"] - case["parameters"]["held_huge_pages"]
    assert 0 < one(result, "huge_pages") == kernel <= asked
    refused = one(result, "huge_pages") < asked
    # Each time the kernel was really asked, also where there was none before. What is held beside
    # it may have fallen back too.
    assert asked - one(result, "huge_pages") <= delta.get("thp_fault_fallback", 0)
    assert one(result, "huges_timed") + one(result, "fallbacks_timed") == asked
    assert one(result, "churned_pages") > 1000
    for name, counters in (
        ("compact_stalls", ["compact_stall"]),
        ("scanned_pages", ["compact_migrate_scanned", "compact_free_scanned"]),
        ("migrated_pages", ["pgmigrate_success"]),
    ):
        # Where each is had at once, nothing is compacted for it.
        counted = sum(delta.get(counter, 0) for counter in counters)
        assert int(refused) <= one(result, name) <= counted, name
    assert one(result, "compact_fails") <= one(result, "compact_stalls")
    assert lab.warnings_but_preflights(result) == []
    assert "Out of memory" not in host.dmesg()
    # Counted by tracepoints, which every kernel of the support matrix has.
    kinds = ("converted", "unmovable_in_movable", "movable_elsewhere", "broken_up")
    assert all(
        0 <= one(result, f"extfrag_{kind}") <= one(result, "extfrag_events") for kind in kinds
    )
    assert lab.await_free(host, before * 0.999) >= before * 0.999
    return refused


@pytest.mark.parametrize(
    ("do", "code"),
    [
        ("kill -9 $(cat /root/pid)", None),
        ("kill -INT $(cat /root/pid)", 130),
        ("pkill -9 -o pab-user", 1),
    ],
)
def test_every_page_is_back_however_it_ends(
    host: Guest, tmp_path: Path, do: str, code: int | None
) -> None:
    true = f"free(9) < {0.2 * lab.whole_blocks(host)}"
    end_and_find_every_page_back(host, tmp_path, "hugealloc --repeat 50", (true, do), code)

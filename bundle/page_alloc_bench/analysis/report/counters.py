# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own counters over the phases of a run: rates of CPUs, vmstat, buddyinfo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Kind, Metric, every, per_cpu

Floats = NDArray[np.float64]

# Counters of /proc/vmstat that patches to the page allocator are argued with, by what they tell.
TELLING = (
    "allocstall", "compact_fail", "compact_free_scanned", "compact_isolated",
    "compact_migrate_scanned", "compact_stall", "compact_success", "drop_pagecache",
    "kswapd_high_wmark_hit_quickly", "kswapd_inodesteal", "kswapd_low_wmark_hit_quickly",
    "numa_foreign", "numa_hit", "numa_miss", "oom_kill", "pageoutrun", "pgalloc", "pgfault",
    "pgfree", "pgmajfault", "pgmigrate_fail", "pgmigrate_success", "pgrefill",
    "pgscan_direct", "pgscan_kswapd", "pgsteal_direct", "pgsteal_kswapd", "pswpin", "pswpout",
    "slabs_scanned", "thp_fault_alloc", "thp_fault_fallback", "thp_split_page",
    "workingset_activate", "workingset_refault", "zone_reclaim",
)  # fmt: skip
MILLION = 1e6
_BY_ZONE = ("allocstall", "pgalloc")  # told for each zone, as pgalloc_dma32
_ZONES = ("dma", "dma32", "normal", "high", "highmem", "movable", "device")
_BY_TYPE = ("workingset_activate", "workingset_refault")  # told for anon and file since 5.9


def phase(result: Result, name: str, case: Case) -> dict[str, Any] | None:
    """Return what a run noted of a phase; None if it had none, or one that was cut short."""
    for item in result.run["phases"]:
        if item["name"] == name and item["order"] == case.order and item.get("complete", True):
            found: dict[str, Any] = item
            return found
    return None


def vmstat(result: Result, name: str, case: Case) -> dict[str, int]:
    """Return what changed in /proc/vmstat in a phase; {} if there was no such phase."""
    item = phase(result, name, case)
    return {} if item is None else _numbers(item["vmstat_delta"])


def gathered(delta: dict[str, int]) -> dict[str, int]:
    """Return the telling counters of a delta, those of zones and types added up."""
    sums = dict.fromkeys(TELLING, 0)
    for counter, change in delta.items():
        name = _family(counter)
        if name in sums:
            sums[name] += change
    return sums


def per_allocation(results: Sequence[Result], name: str, case: Case) -> dict[str, Floats]:
    """Return events per MILLION allocations of each telling counter, one per run.

    A phase that lasts so long makes more allocations on the faster side, and with them more events:
    those of so many allocations are the same. Counters that are always zero are left out.
    """
    rows = []
    for result in results:
        item, made = phase(result, name, case), _allocations(result, name, case)
        if item is not None and made:
            sums = gathered(_numbers(item["vmstat_delta"]))
            rows.append([sums[counter] / made * MILLION for counter in TELLING])
    if not rows:
        return {}
    table = np.array(rows, float)
    return {
        counter: table[:, column]
        for column, counter in enumerate(TELLING)
        if table[:, column].any()
    }


def _allocations(result: Result, name: str, case: Case) -> int:
    """Return how many allocations, or faults, were made in a phase; 0 if it is not known.

    A phase is of all cases of an order.
    """
    rates = (m for m in every().values() if m.kind is Kind.RATE)
    made = {m.counts for m in rates if name in (m.phase, m.subtest)}
    return sum(
        int(result.values(metric, each).sum())
        for metric, each in result.metrics
        if metric in made and each.order == case.order
    )


def free_bytes(result: Result, name: str, case: Case, when: str) -> Floats | None:
    """Return the free bytes in blocks of each order, all zones; None if not noted.

    when: "before" or "after" the phase.
    """
    item = phase(result, name, case)
    zones = (item or {}).get(f"buddyinfo_{when}") or {}
    if not zones:
        return None
    depth = max(map(len, zones.values()))
    blocks = np.zeros(depth)
    for counts in zones.values():
        blocks[: len(counts)] += counts
    page = float(result.run["kernel"]["page_size_bytes"])
    return np.asarray(blocks * page * 2.0 ** np.arange(depth))


def changes(results: Sequence[Result], name: str, case: Case) -> Floats:
    """Return how the free bytes in blocks of each order changed in a phase, one row per run."""
    rows = []
    for result in results:
        before = free_bytes(result, name, case, "before")
        after = free_bytes(result, name, case, "after")
        if before is not None and after is not None:
            depth = max(len(before), len(after))
            rows.append(_padded(after, depth) - _padded(before, depth))
    depth = max(map(len, rows), default=0)
    return np.array([_padded(row, depth) for row in rows]).reshape(len(rows), depth)


def rates_by_cpu() -> list[Metric]:
    """Return the rates of which it is known how much each CPU did."""
    return [m for m in every().values() if m.kind is Kind.RATE and per_cpu(m.counts) is not None]


def cpu_rates(results: Sequence[Result], rate: Metric, case: Case) -> dict[int, Floats]:
    """Return a rate of each CPU, one per run that used it.

    A CPU's share of all that happened, times the rate of all CPUs together in the steady state:
    the module counts what a CPU does from the start only.
    """
    of_each = per_cpu(rate.counts)
    assert of_each is not None, "as rates_by_cpu() has it"
    found: dict[int, list[float]] = {}
    for result in results:
        counts = result.values(of_each.name, case).astype(float)
        together = result.values(rate.name, case)
        cpus = result.run.get("cpus", [])
        if not len(together) or len(cpus) != len(counts) or not counts.sum():
            continue
        for cpu, count in zip(cpus, counts):
            found.setdefault(cpu, []).append(count / counts.sum() * float(together[0]))
    return {cpu: np.array(values) for cpu, values in sorted(found.items())}


def node_of_cpu(results: Sequence[Result]) -> dict[int, int]:
    """Return the node of each CPU, as the last run that knows it says."""
    nodes: dict[int, int] = {}
    for result in results:
        for cpu, node in result.run["machine"].get("node_of_cpu", {}).items():
            nodes[int(cpu)] = int(node)
    return nodes


def _numbers(delta: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in delta.items() if isinstance(value, int)}


def _family(counter: str) -> str:
    """Return the counter that stands for this one: pgalloc for pgalloc_dma32."""
    return next(_families(counter), counter)


def _families(counter: str) -> Iterator[str]:
    stem, _, last = counter.rpartition("_")
    if stem in _BY_ZONE and last in _ZONES:
        yield stem
    if stem in _BY_TYPE and last in ("anon", "file"):
        yield stem


def _padded(row: Floats, depth: int) -> Floats:
    return np.pad(row, (0, depth - len(row)))

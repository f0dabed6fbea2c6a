# SPDX-License-Identifier: GPL-2.0-only
"""Processes that ask for huge pages, and what each cost, by whether there was one."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Mapping, Sequence

from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.latencies import Latencies
from page_alloc_bench.runner.module import sampling
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case

from . import populated, slate

KINDS = ("huge", "fallback")
MADV_DONTNEED = 4
_PRESENT = 1 << 63  # Documentation/admin-guide/mm/pagemap.rst
# The metrics of result/huge_metrics.py, and the counters of /proc/vmstat that begin so.
_COUNTERS = {
    "compact_stalls": ("compact_stall",),
    "compact_fails": ("compact_fail",),
    "scanned_pages": ("compact_migrate_scanned", "compact_free_scanned"),
    "migrated_pages": ("pgmigrate_success",),
    "reclaim_stalls": ("allocstall",),
}


class Asking:
    """Memory of a process, of which a huge page after the other is asked for.

    start: its first address. One page of each is asked for, so that only one page fault is timed.
    """

    def __init__(self, board: slate.Slate, worker: int, seed: int, size: int, order: int) -> None:
        page = procfs.page_size()
        self._page, self._order = page, order
        self._own = populated.Memory(size, page << order, huge=True)
        self._notes = [board.timer(worker, kind, seed).note for kind in range(len(KINDS))]
        self._table = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self.start = self._own.map()

    def one(self, address: int) -> bool:
        """Ask for one; return whether it was had.

        A base page that comes instead is given back at once, so that what is free does not get
        less by what was not had.
        """
        before = time.monotonic_ns()
        self._own.populate(address, self._page)
        took = time.monotonic_ns() - before
        # Only a huge page has brought the last of its pages along.
        last = (address // self._page) + (1 << self._order) - 1
        had = bool(array("Q", os.pread(self._table, 8, last * 8))[0] & _PRESENT)
        self._notes[not had](took)
        if not had:
            self._own.madvise(address, self._page, MADV_DONTNEED)
        return had

    def start_again(self) -> None:
        """Give all back, the page tables too, and map memory anew.

        Where a base page was had, its page table stays, and the kernel looks for no huge page there
        again: __handle_mm_fault(), mm/memory.c.
        """
        self._own.unmap()
        self.start = self._own.map()


def capacity(bench: Bench, workers: int) -> int:
    """Return how many latencies each of so many workers keeps."""
    return sampling.capacity_per_cpu(bench.options.sample_size, workers)


def latencies(bench: Bench, workers: int) -> dict[str, Latencies]:
    """Return where the latencies of a case go; of no kind, if none is to be timed."""
    options = bench.options
    if options.latencies == "none":
        return {}
    kept = (capacity(bench, workers), options.sample_size, options.seed, ())
    return {kind: Latencies(*kept) for kind in KINDS}


def add(found: Mapping[str, Latencies], board: slate.Slate, workers: Sequence[int]) -> None:
    """Add what the workers have timed."""
    for kind, each in found.items():
        number = KINDS.index(kind)
        each.add(
            ((worker, board.latency(worker, number, sample=False), 0) for worker in workers),
            [board.latency(worker, number).sample for worker in workers],
        )


def put(bench: Bench, workload: str, case: Case, found: Mapping[str, Latencies]) -> None:
    """Record latencies as the metrics of a workload."""
    for kind, each in found.items():
        each.put(bench.document.put, metrics.operations()[f"{workload}_{kind}"], case)


def put_costs(put_one: Callable[[str, int], object], delta: Mapping[str, int]) -> None:
    """Record what was done for huge pages. delta: of /proc/vmstat."""
    for name, counters in _COUNTERS.items():
        put_one(name, sum(n for key, n in delta.items() if key.startswith(counters)))

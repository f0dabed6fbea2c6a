# SPDX-License-Identifier: GPL-2.0-only
"""How the latencies of one operation went: of each CPU, and in each slice of time."""

from __future__ import annotations

import functools
import operator
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result import quantile
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, bucket_floor
from page_alloc_bench.runner.result.metrics import Timed

_BEYOND = 5  # timed operations, for a percentile of a slice or of a CPU to say anything


def _nothing() -> array[int]:
    return array("Q", bytes(8 * HIST_BUCKETS))


class Course:
    """Sums of the histograms of CPUs, cut into slices.

    A slice is what all CPUs timed from one look to the next.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        """cpus: those of the run, whose order that of the figures is."""
        self._of_cpu: dict[int, tuple[int, array[int]]] = {}
        self._longest = dict.fromkeys(cpus, 0)
        self._slices: list[tuple[int, array[int]]] = []
        self._seen, self._seen_ns = _nothing(), 0

    def begin(self, each: Iterable[Latency], now_ns: int) -> None:
        """Let a slice begin here. each: what each CPU has timed so far. now_ns: of any clock."""
        self._seen, self._seen_ns = _together(each), now_ns

    def look(self, each: Iterable[Latency], now_ns: int) -> None:
        """End a slice here, and begin the next."""
        seen = _together(each)
        timed = array("Q", map(operator.sub, seen, self._seen))
        self._slices.append((now_ns - self._seen_ns, timed))
        self._seen, self._seen_ns = seen, now_ns

    def add(self, cpu: int, latency: Latency) -> None:
        """Add all that a CPU timed; its workers have ended."""
        counts = latency.histogram
        if cpu in self._of_cpu:
            counts = _sum(_whole(self._of_cpu[cpu]), counts)
        self._of_cpu[cpu] = _used(counts)
        self._longest[cpu] = max(self._longest[cpu], latency.max_ns)

    def put(
        self, put: Callable[[str, Any, Sequence[int]], object], timed: Timed, case: Any
    ) -> None:
        """Record the figures as the metrics of a timed operation. put: the document's."""
        if not any(counts for _, counts in self._of_cpu.values()):
            return
        nothing = 0, array("Q")
        for name in ("median", "p99"):
            each = (self._of_cpu.get(cpu, nothing) for cpu in self._longest)
            of_cpus = [_figure(_whole(used), name) for used in each]
            put(timed.figure("cpu", name).name, case, of_cpus)
            if self._slices:
                put(
                    timed.figure("slice", name).name,
                    case,
                    [_figure(one, name) for _, one in self._slices],
                )
        put(timed.figure("cpu", "max").name, case, list(self._longest.values()))
        if self._slices:
            put(timed.figure("slice", "").name, case, [took_ns for took_ns, _ in self._slices])


def _sum(one: Sequence[int], other: Sequence[int]) -> array[int]:
    return array("Q", map(operator.add, one, other))


def _used(counts: array[int]) -> tuple[int, array[int]]:
    """Return the counts without the empty buckets at both ends, and how many are before them.

    On a machine of many CPUs those are most of what would be kept.
    """
    used = [index for index, count in enumerate(counts) if count]
    return (used[0], counts[used[0] : used[-1] + 1]) if used else (0, array("Q"))


def _whole(used: tuple[int, array[int]]) -> array[int]:
    whole = _nothing()
    whole[used[0] : used[0] + len(used[1])] = used[1]
    return whole


def _together(each: Iterable[Latency]) -> array[int]:
    return functools.reduce(_sum, (latency.histogram for latency in each), _nothing())


@functools.cache
def _edges() -> list[int]:
    return [bucket_floor(index) for index in range(HIST_BUCKETS + 1)]


def _figure(counts: Sequence[int], name: str) -> int:
    """Return a percentile in ns; 0 if there are too few operations for it."""
    if not quantile.enough(name, sum(counts), _BEYOND):
        return 0
    return round(quantile.Distribution(counts, _edges(), ()).figure(name))

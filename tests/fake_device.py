# SPDX-License-Identifier: GPL-2.0-only
"""A session of the module on a machine that nobody has: what its workers would have counted."""

from __future__ import annotations

import dataclasses
import random
from array import array
from collections.abc import Callable, Collection, Mapping

from page_alloc_bench.runner.module.abi import NO_OOM, CpuStats, Gfp, Progress
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, bucket_floor

EDGES = [bucket_floor(bucket) for bucket in range(HIST_BUCKETS + 1)]
_PATHS = {"hit_alloc": 0.5, "refill_alloc": 0.25, "bypass_alloc": 0.0, "fallback_alloc": 0.25,
          "put_free": 0.75, "drain_free": 0.25}  # fmt: skip
_OPERATIONS = ("alloc", "free", "alloc_failure", *_PATHS, "pressed", "streak")
_TICK_NS = 1_000_000_000  # between two looks at the progress
_KINDS = 16  # different reservoirs: making one for each of a thousand CPUs takes too long


def bucket(ns: int) -> int:
    """Return the bucket that counts a latency, by its definition."""
    low, high = 0, HIST_BUCKETS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if EDGES[middle] <= ns else (low, middle)
    return low


def _latency_ns(rng: random.Random) -> float:
    """Return a latency as a server has them: one in a thousand waits for something."""
    return (60 + rng.lognormvariate(6.0, 0.7)) * (1 if rng.random() < 0.999 else 2000)


class FakeDevice:
    """A measuring.bench.Session.

    nodes: the node of each CPU. timed: latencies that each CPU times of a class. latency_ns: draws
    one; its reading is what a clock with a step of step_ns(cpu) makes of it. clock_cost_ps: of a
    reading, on CPU 0; a little more on the others.
    """

    def __init__(
        self,
        nodes: dict[int, int],
        *,
        timed: int = 1000,
        latency_ns: Callable[[random.Random], float] = _latency_ns,
        step_ns: Callable[[int], int] = lambda _cpu: 20,
        clock_cost_ps: int = 24_000,
    ) -> None:
        self._nodes = nodes
        self._timed = timed
        self._latency_ns = latency_ns
        self._step_ns = step_ns
        self._clock_cost_ps = clock_cost_ps
        self._cpus: list[int] = []
        self.lacking: set[str] = set()  # patterns
        self._capacity = 0
        self._held = 0
        self._looks = 0
        self._kinds: dict[tuple[int, int, int], Latency] = {}

    def configure(
        self,
        *,
        pattern: str,
        parameters: Mapping[str, int],
        order: int,
        seed: int,
        cpus: Collection[int],
        time_one_in: int,
        sample_capacity: int,
        gfp: Gfp = Gfp.KERNEL,
        gfp_modifiers: int = 0,
        allocs: int = 0,
        peers: Mapping[int, int] | None = None,
    ) -> None:
        del (
            pattern,
            gfp_modifiers,
            peers,
            order,
            seed,
            time_one_in,
            gfp,
            allocs,
        )  # nothing that is counted depends on them
        self._held, self._cpus = parameters.get("held", 0), sorted(cpus)
        self._capacity = sample_capacity
        self._looks = 0
        self._kinds.clear()

    def lacks(self, pattern: str) -> bool:
        return pattern in self.lacking

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def watch_oom(self) -> None: ...

    def progress(self) -> Progress:
        self._looks += 1
        workers = len(self._cpus)
        return Progress(
            workers=workers,
            steady=workers,
            time_ns=self._looks * _TICK_NS,
            allocs=self._looks * workers * 1_000_000,
            oom_held=workers * self._held if self._looks else NO_OOM,
        )

    def cpu_stats(self, cpu: int) -> CpuStats:
        allocs = 64 * self._timed + cpu
        return CpuStats(
            cpu=cpu,
            node=self._nodes[cpu],
            last_cpu=cpu,
            steady=1,
            charged=1,
            allocs=allocs,
            frees=allocs,
            failures=3,
            remote=allocs // 100,
            shortfalls=5,
            clock_cost_ps=self._clock_cost_ps + cpu,
            clock_step_ns=self._step_ns(cpu),
        )

    def latency(self, cpu: int, operation: str, *, sample: bool = True) -> Latency:
        """Return the latencies of a CPU, the same each time."""
        step = self._step_ns(cpu)
        kind = (cpu % _KINDS, _OPERATIONS.index(operation), step)
        if kind not in self._kinds:
            self._kinds[kind] = self._make(kind)
        one = self._kinds[kind]
        # Memory of its own each time, as the real one has.
        kept = one.sample[:] if sample else one.sample[:0]
        return dataclasses.replace(one, histogram=one.histogram[:], sample=kept)

    def _make(self, kind: tuple[int, int, int]) -> Latency:
        """Make latencies: a sample as large as the module's, and a histogram of as many as asked.

        The histogram repeats the sample, with the maximum and a long tail besides.
        """
        rng = random.Random(repr(kind))
        step = max(kind[2], 1)
        operation = _OPERATIONS[kind[1]]
        few = 3 if operation == "alloc_failure" else round(self._timed * _PATHS.get(operation, 1))
        size = min(few, self._capacity)
        sample = array("Q", (int(self._latency_ns(rng)) // step * step for _ in range(size)))
        histogram = array("Q", bytes(8 * HIST_BUCKETS))
        for ns in sample:
            histogram[bucket(ns)] += 1
        for index in range(HIST_BUCKETS):
            histogram[index] = histogram[index] * few // max(size, 1)
        histogram[bucket(int(self._latency_ns(rng)) // step * step)] += few - sum(histogram)
        largest = max(sample, default=0)
        return Latency(few, sum(sample) * few // max(size, 1), largest, histogram, sample)

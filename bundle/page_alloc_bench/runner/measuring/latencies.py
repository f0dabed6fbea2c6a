# SPDX-License-Identifier: GPL-2.0-only
"""The latencies of one operation in one case: added repetition by repetition, then recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from page_alloc_bench.runner.measuring import recorded
from page_alloc_bench.runner.module import merged, sampling
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Timed

from .course import Course


@dataclass
class Latencies:
    """What has been timed so far.

    capacity: the most latencies in the sample of a CPU; size: and in the one that is recorded.
    cpus: of the run; none, if what each of them timed is not told.
    timed, samples: of each repetition, how many operations, and a uniform sample of them.
    """

    capacity: int
    size: int
    seed: int
    cpus: Sequence[int]
    timed: list[int] = field(default_factory=list)
    samples: list[Sequence[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found = merged.Timed(self.capacity)
        self.course = Course(self.cpus)

    def add(
        self, each: Iterable[tuple[int, Latency, int]], reservoirs: Iterable[Sequence[int]]
    ) -> None:
        """Add a repetition: each CPU, what it timed, the step of its clock, and its sample.

        Only the counts of the former are used. reservoirs: read one after the other, and let go.
        """
        this = merged.Timed(self.capacity)
        for cpu, latency, step_ns in each:
            if self.cpus:
                self.course.add(cpu, latency)
            this.add(latency, step_ns)
            self.found.add(latency, step_ns)
        self.timed.append(sum(this.timed))
        self.samples.append(
            sampling.merge_samples(this.timed, this.kept, reservoirs, self.size, self.seed)
        )

    def put(
        self, put: Callable[[str, Any, Sequence[int]], object], timed: Timed, case: Case
    ) -> None:
        """Record what has been added as the metrics of a timed operation. put: the document's."""
        kept = [len(each) for each in self.samples]
        sample = sampling.merge_samples(self.timed, kept, self.samples, self.size, self.seed)
        recorded.put_latencies(put, timed, case, self.found, sample)
        if self.cpus:
            self.course.put(put, timed, case)

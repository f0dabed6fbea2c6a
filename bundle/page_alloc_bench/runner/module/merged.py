# SPDX-License-Identifier: GPL-2.0-only
"""The latencies of one kind of operation on all CPUs together."""

from __future__ import annotations

import operator
from array import array
from dataclasses import dataclass, field

from page_alloc_bench.runner.result import clock_step
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS

from .device import Latency


def _no_counts() -> array[int]:
    return array("Q", bytes(8 * HIST_BUCKETS))


@dataclass
class Timed:
    """Sums over CPUs, which are added one after the other.

    capacity: the most latencies in the sample of a CPU. timed: how many operations each CPU timed;
    kept: how many of them are in its sample, which need not have been read. total_ns,
    max_ns and histogram are over all timed operations of all CPUs; below_step: how many of those
    were shorter than the step of their CPU's clock.
    """

    capacity: int
    timed: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    total_ns: int = 0
    max_ns: int = 0
    histogram: array[int] = field(default_factory=_no_counts)
    below_step: int = 0

    def add(self, latency: Latency, step_ns: int) -> None:
        """Add what one CPU timed; nothing of it is kept. step_ns: of its clock, 0: unknown."""
        self.below_step += clock_step.below_step(latency.histogram, step_ns)
        self.timed.append(latency.timed)
        self.kept.append(min(latency.timed, self.capacity))
        self.total_ns += latency.total_ns
        self.max_ns = max(self.max_ns, latency.max_ns)
        self.histogram = array("Q", map(operator.add, self.histogram, latency.histogram))

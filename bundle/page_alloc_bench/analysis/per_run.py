# SPDX-License-Identifier: GPL-2.0-only
"""The figures that one run gives: each is one observation when runs are compared.

What can be compared is found by the metrics' names and by the schema, so that a metric that joins
the schema is compared without a change here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.runner.result import clock_step
from page_alloc_bench.runner.result.clock_step import Hidden

from .results import Better, Result, ResultError, describe

Array = NDArray[np.int64]

# Fewer timed operations than this beyond a percentile, and it says little but their number.
_LEAST_BEYOND = 5
# Fewer sampled latencies than this in a bucket, and a straight line through it is the better guess.
_LEAST_INSIDE = 32

_PERCENTILES = (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999))

# Counts grow with the time that a run takes: they are compared as parts of these.
_SHARES = {
    "kernel_alloc_failures": ("kernel_page_allocs", "kernel_alloc_failures"),
    "kernel_page_allocs_remote": ("kernel_page_allocs",),
}

_FAMILIES = {
    "kernel_page_alloc_latencies_ns": "allocation latency",
    "kernel_page_free_latencies_ns": "free latency",
    "kernel_alloc_failure_latencies_ns": "failed allocation latency",
}


class Rank(enum.IntEnum):
    """How much a statistic weighs. Each test makes the others weaker, so few are primary.

    PRIMARY is tested by default, SHOWN is only shown, REST is left out, unless all are asked for.
    """

    PRIMARY = 0
    SHOWN = 1
    REST = 2


@dataclass(frozen=True)
class Statistic:
    """What is compared. metric: its name in the result; statistic: median, p99, p99.9, max, …"""

    family: str
    metric: str
    statistic: str
    order: int
    unit: str
    better: Better
    rank: Rank


class Below(float):
    """A latency of which is known only that it is less than this: the step of the clock."""


def statistics(result: Result) -> dict[Statistic, float]:
    """Return the figures of a run that have a good direction; what was not measured is absent.

    A latency that the clock was too coarse for is Below.
    """
    figures: dict[Statistic, float] = {}
    for name, order in result.metrics:
        figures.update(_statistics(result, name, order))
    return figures


def _statistics(result: Result, name: str, order: int) -> Iterator[tuple[Statistic, float]]:
    unit, better = describe(name)
    values = result.values(name, order)
    if better is None or name.endswith(("_latency_max_ns", "_per_cpu")):
        return
    if name.endswith("_latencies_ns"):
        yield from _latencies(result, name, order, better)
    elif name in _SHARES:
        share = _share(result, name, order)
        if share is not None:
            yield Statistic("share", name, "share", order, "ppm", better, Rank.SHOWN), share
    elif values.size:
        kind = "value" if name.endswith("_per_second") else "median"
        family, rank = _family(name)
        yield Statistic(family, name, kind, order, unit, better, rank), float(np.median(values))


def _family(name: str) -> tuple[str, Rank]:
    if name.endswith("_reachable_bytes"):
        return "available memory", Rank.PRIMARY
    if name.endswith("_available_bytes"):
        return "available memory", Rank.SHOWN  # primary where the other is not known
    if name.endswith("_per_second"):
        return "rate", Rank.PRIMARY
    if name.endswith("_rss_bytes"):
        return "available memory by RSS", Rank.REST
    if name.endswith("_duration_ns"):
        return "duration", Rank.REST
    return name, Rank.REST


def _share(result: Result, name: str, order: int) -> float | None:
    """Return a count as so many of a million attempts; None where there was no attempt."""
    count = result.values(name, order)
    whole = sum(int(result.values(of, order).sum()) for of in _SHARES[name])
    return 1e6 * int(count.sum()) / whole if count.size and whole else None


def _latencies(
    result: Result, name: str, order: int, better: Better
) -> Iterator[tuple[Statistic, float]]:
    family = _FAMILIES.get(name, name.removesuffix("_latencies_ns") + " latency")
    # A failed allocation is rare, and the first attempts are few: not what a verdict rests on.
    rank = Rank.REST if "failure" in name else Rank.PRIMARY
    timed = _Timed.of(result, name.removesuffix("_latencies_ns"), order)
    hidden = clock_step.of(result.counts, result.run, name, order)
    for label, part in _PERCENTILES:
        if timed.operations * (1 - part) >= _LEAST_BEYOND:
            coarse = hidden is not None and hidden.hides_part(part)
            figure = _bound(hidden) if coarse else timed.quantile(part)
            if figure is not None:
                yield Statistic(family, name, label, order, "ns", better, rank), figure
    if timed.largest is not None:
        # Of more operations the largest is larger: the side that is faster would look worse.
        shown = max(rank, Rank.SHOWN)
        coarse = hidden is not None and hidden.hides(timed.largest)
        figure = _bound(hidden) if coarse else float(timed.largest)
        if figure is not None:
            yield Statistic(family, name, "max", order, "ns", better, shown), figure


def _bound(hidden: Hidden | None) -> Below | None:
    """Return what a hidden latency is known to be less than; None if nothing is known of it."""
    return None if hidden is None or hidden.step_ns is None else Below(hidden.step_ns)


@dataclass(frozen=True)
class _Timed:
    """Timed operations: counts in buckets between bounds, and a uniform sample of them, in ns."""

    counts: Array
    bounds: Array
    sample: Array
    largest: int | None

    @classmethod
    def of(cls, result: Result, base: str, order: int) -> _Timed:
        """Return what a run timed. Raises ResultError if the histogram is none."""
        largest = result.values(f"{base}_latency_max_ns", order)
        counts = result.values(f"{base}_latency_histogram", order)
        bounds = result.values(f"{base}_latency_histogram_bounds_ns", order)
        if counts.size and (bounds.size != counts.size + 1 or np.any(np.diff(bounds) <= 0)):
            name = f"{base}_latency_histogram_order{order}"
            raise ResultError(result.path, f"the bounds of {name} do not fit it")
        sample = result.values(f"{base}_latencies_ns", order)
        return cls(counts, bounds, sample, int(largest[0]) if largest.size else None)

    @property
    def operations(self) -> int:
        """Return how many operations the quantiles are of."""
        return int(self.counts.sum()) if self._has_histogram else self.sample.size

    @property
    def _has_histogram(self) -> bool:
        return self.counts.size > 0

    def quantile(self, part: float) -> float:
        """Return the latency that this part of the operations does not exceed.

        The histogram holds all timed operations and tells the bucket, which is at most 1/16 wide.
        Where in the bucket is told by the sampled latencies that are in it, if they are enough, and
        by a straight line through it if not. Without a histogram the sample has to do.
        """
        if not self._has_histogram:
            return float(np.quantile(self.sample, part))
        ends = np.cumsum(self.counts)
        rank = part * ends[-1]
        bucket = int(np.searchsorted(ends, rank))
        low, high = int(self.bounds[bucket]), int(self.bounds[bucket + 1])
        inside = (rank - (ends[bucket] - self.counts[bucket])) / self.counts[bucket]
        near = self.sample[(self.sample >= low) & (self.sample < high)]
        if near.size >= _LEAST_INSIDE:
            return float(np.quantile(near, inside))
        if self.largest is not None:
            high = min(high, max(low, self.largest))
        return float(low + inside * (high - low))

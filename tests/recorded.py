# SPDX-License-Identifier: GPL-2.0-only
"""The recorded runs under tests/data, and changes planted in their raw measurements."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, bucket_floor

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "tests/data/results"
BASE = RESULTS / "init_on_alloc-1"
NEW = RESULTS / "init_on_alloc-0"

Document = dict[str, Any]

EDGES = np.array([bucket_floor(bucket) for bucket in range(HIST_BUCKETS + 1)], float)


def documents(side: Path) -> list[Document]:
    """Return the results of a side, as they were written."""
    return [json.loads(gzip.decompress(path.read_bytes())) for path in sorted(side.iterdir())]


def write(directory: Path, results: Iterable[Document]) -> Path:
    """Write results into a new directory, a file each, and return the directory."""
    directory.mkdir(parents=True)
    for number, result in enumerate(results):
        (directory / f"{number:02}.json").write_text(json.dumps(result))
    return directory


def plant_memory(result: Document, factor: float) -> Document:
    """Return a result in which the child got factor times the memory, in each iteration."""
    return _planted(result, r"(idle|antagonized)_available_(rss_)?bytes", factor)


def plant_latency(result: Document, factor: float, of: str = "alloc|free") -> Document:
    """Return a result in which each operation took factor times as long.

    Samples, maxima and sums are multiplied, and what the histogram counts is moved: each bucket is
    stretched and what it held is spread evenly over the buckets that it then covers.
    """
    planted = _planted(result, rf"kernel_page_({of})_(latencies_ns|latency_(max|sum)_ns)", factor)
    for name in list(planted):
        if re.fullmatch(rf"kernel_page_({of})_latency_histogram_order[0-9]+", name):
            edges = name.replace("histogram", "histogram_bounds_ns")
            planted[name], planted[edges] = _stretch(result[name], result[edges], factor)
    return planted


def read_by_clock(result: Document, step_ns: int) -> Document:
    """Return a result whose latencies were read from a clock that moves by steps of step_ns.

    An operation is read as the whole steps that it took, one shorter than a step as nothing.
    """

    def read(values: Iterable[float]) -> list[int]:
        return [int(value) // step_ns * step_ns for value in values]

    planted = _planted(result, "nothing", 1)
    planted["run"] = {
        **result["run"],
        "clocks": [{**clock, "step_ns": step_ns} for clock in result["run"]["clocks"]],
    }
    for name in list(result):
        found = re.fullmatch(r"(\w+)_latency_histogram_(order[0-9]+)", name)
        if found is None:
            continue
        base, order = found.groups()
        sample, most = f"{base}_latencies_ns_{order}", f"{base}_latency_max_ns_{order}"
        planted[sample] = read(result[sample])
        if most in result:
            planted[most] = read(result[most])
        edges = f"{base}_latency_histogram_bounds_ns_{order}"
        counts, bounds = _count_again(result[name], read(result[edges][:-1]))
        planted[name], planted[edges] = counts, bounds
        below = sum(n for n, low in zip(result[name], result[edges]) if low < step_ns)
        planted[f"{base}s_below_clock_step_{order}"] = [below]
    return planted


def _count_again(counts: list[int], readings: list[int]) -> tuple[list[int], list[int]]:
    """Return the histogram of readings that were made so many times, and its edges."""
    whole = np.zeros(HIST_BUCKETS, np.int64)
    for count, reading in zip(counts, readings):
        whole[np.searchsorted(EDGES, reading, side="right") - 1] += count
    used = np.flatnonzero(whole)
    if not used.size:
        return [], []
    first, end = int(used[0]), int(used[-1]) + 1
    return whole[first:end].tolist(), [bucket_floor(n) for n in range(first, end + 1)]


def _planted(result: Document, pattern: str, factor: float) -> Document:
    change: Callable[[Any], Any] = lambda values: [round(value * factor) for value in values]  # noqa: E731
    return {
        name: change(value) if re.fullmatch(rf"({pattern})_order[0-9]+", name) else value
        for name, value in result.items()
    }


def _stretch(counts: list[int], bounds: list[int], factor: float) -> tuple[list[int], list[int]]:
    """Return the counts in the same kind of buckets after stretching, and their bounds."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    # How many are below each edge, if those of a bucket are spread evenly over it.
    below = np.rint(np.interp(EDGES, np.multiply(bounds, factor), ends)).astype(int)
    moved = np.diff(below)
    used = np.flatnonzero(moved)
    first, last = int(used[0]), int(used[-1]) + 1
    return moved[first:last].tolist(), EDGES[first : last + 1].astype(int).tolist()

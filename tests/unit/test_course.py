# SPDX-License-Identifier: GPL-2.0-only
"""What is told of latencies by CPU and over time, on a kernel whose latencies are known."""

from __future__ import annotations

from array import array

import pytest

from page_alloc_bench.runner.measuring.course import Course
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result import document, metrics
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, bucket_floor

TIMED = metrics.operations()["pairs_alloc"]
CPUS = (0, 2, 5)


def timed(**counts: int) -> Latency:
    """Latencies of a CPU: how many are of so many ns (ns100=3)."""
    histogram, longest, total = array("Q", bytes(8 * HIST_BUCKETS)), 0, 0
    for word, count in counts.items():
        ns = int(word.removeprefix("ns"))
        place = next(i for i in range(HIST_BUCKETS) if ns < bucket_floor(i + 1))
        histogram[place] += count
        longest, total = max(longest, ns), total + ns * count
    return Latency(sum(counts.values()), total, longest, histogram, array("Q"))


def recorded(course: Course) -> dict[str, list[int]]:
    made = document.Document({})
    course.put(made.put, TIMED, 0)
    return {name.removeprefix("pairs_alloc_"): list(of) for name, of in made.metrics.items()}


def test_each_cpu_has_figures_of_all_its_repetitions() -> None:
    course = Course(CPUS)
    course.add(0, timed(ns100=990, ns8000=10))
    course.add(0, timed(ns100=985, ns8000=15))
    course.add(5, timed(ns3000=400, ns9000=1))
    found = recorded(course)
    assert found["latency_median_ns_per_cpu_order0"] == [
        pytest.approx(100, rel=0.07), 0, pytest.approx(3000, rel=0.07),
    ]  # fmt: skip
    first, idle, last = found["latency_p99_ns_per_cpu_order0"]
    assert first == pytest.approx(8000, rel=0.07)  # 1.25 % are as long
    assert (idle, last) == (0, 0)  # four of 401 are beyond it, and five are needed
    assert found["latency_max_ns_per_cpu_order0"] == [8000, 0, 9000]
    assert not any("slice" in name for name in found)


def test_a_slice_has_what_was_timed_in_it() -> None:
    course = Course(CPUS[:2])
    course.begin([timed(ns50=1000), timed(ns50=1000)], 5_000)
    course.look([timed(ns50=1000, ns100=600), timed(ns50=1000, ns100=600)], 6_000)
    course.look([timed(ns50=1000, ns100=600), timed(ns50=1000, ns100=600, ns900=800)], 8_500)
    course.look([timed(ns50=1000, ns100=600), timed(ns50=1000, ns100=600, ns900=800)], 9_000)
    course.begin([timed(), timed()], 20_000)  # another repetition: its counts begin anew
    course.look([timed(ns100=700), timed(ns7=3)], 21_000)
    course.add(0, timed(ns50=1000))
    found = recorded(course)
    assert found["slices_ns_order0"] == [1_000, 2_500, 500, 1_000]
    assert found["latency_median_ns_per_slice_order0"] == [
        pytest.approx(100, rel=0.07), pytest.approx(900, rel=0.07), 0, pytest.approx(100, rel=0.07)
    ]  # fmt: skip


def test_of_nothing_that_was_timed_nothing_is_told() -> None:
    course = Course(CPUS)
    course.add(0, timed())
    assert recorded(course) == {}

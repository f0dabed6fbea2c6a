# SPDX-License-Identifier: GPL-2.0-only
"""The summary tells the truth, and fits."""

from __future__ import annotations

import random

import pytest

from page_alloc_bench.runner import summary
from page_alloc_bench.runner.result import Document


def document(largest_ns: int = 9_000, memory: int = 2 << 30) -> Document:
    made = Document(
        {
            "kernel": {"release": "6.1.0-56-cloud-amd64", "page_size_bytes": 4096},
            "machine": {"cpus_used": "0-1", "nodes": [{}, {}], "memory_bytes": memory},
            "clocks": [{"cost_ps": 20_000}, {"cost_ps": 31_000}],
        }
    )
    made.put("idle_available_bytes", 4, [memory - (1 << 20), memory + (1 << 20)])
    made.put("antagonized_available_bytes", 4, [memory - (20 << 20)])
    made.put("antagonist_held_bytes", 4, [15 << 20])
    rng = random.Random(1)
    made.put("kernel_page_alloc_latencies_ns", 4, [rng.randrange(50, 90) for _ in range(50_000)])
    made.put("kernel_page_alloc_latency_max_ns", 4, [largest_ns])
    made.put("kernel_page_allocs_timed", 4, [60_000])
    made.put("kernel_page_allocs", 4, [3_840_000])
    made.put("kernel_page_allocs_per_cpu", 4, [1_920_000, 1_920_000])
    made.put("kernel_page_allocs_per_second", 4, [1_500_000])
    made.put("kernel_page_allocs_remote", 4, [38_400])
    made.put("kernel_alloc_failures", 4, [12_345])
    made.end(complete=True, reason=None, exit_code=0)
    return made


def test_statistics_are_those_of_the_textbook() -> None:
    stats = summary.statistics(range(1, 1001))
    assert (stats.samples, stats.least, stats.largest) == (1000, 1, 1000)
    assert (stats.mean, stats.median) == (500.5, 500.5)
    assert (stats.p95, stats.p99, stats.p999) == (950, 990, 999)


def test_statistics_of_one_value_are_that_value() -> None:
    stats = summary.statistics([7])
    assert {stats.least, stats.mean, stats.median, stats.p95, stats.p999, stats.largest} == {7}


def test_there_are_no_statistics_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        summary.statistics([])


def test_the_maximum_is_of_all_that_was_timed_not_of_the_sample() -> None:
    assert "9,000" in summary.render(document(largest_ns=9_000))


def test_memory_that_is_unaccounted_for_is_shown() -> None:
    text = summary.render(document())
    assert "memory: idle - antagonized - what the antagonist holds = 5.0 MiB" in text


def test_rates_counts_and_what_was_timed_are_shown() -> None:
    text = summary.render(document())
    assert "750,000 allocations/s per CPU, 1,500,000 on 2 CPUs" in text
    assert "1.00 % remote" in text
    assert "12,345 allocations failed" in text
    assert "timed 60,000 of 3,840,000 allocations; a clock read costs 20.0-31.0 ns" in text


def test_a_clock_whose_cost_is_unknown_has_none() -> None:
    made = document()
    made.run["clocks"] = [{"cost_ps": None}, {"cost_ps": None}]
    assert "timed 60,000 of 3,840,000 allocations\n" in summary.render(made) + "\n"
    made.run["clocks"] = [{"cost_ps": None}, {"cost_ps": 20_000}]
    assert "a clock read costs 20.0-20.0 ns" in summary.render(made)


@pytest.mark.parametrize("largest_ns", [90, 280_000_000, 10**12])
@pytest.mark.parametrize("memory", [64 << 20, 2 << 30, 12 << 40])
def test_it_never_is_wider_than_promised(largest_ns: int, memory: int) -> None:
    made = document(largest_ns, memory)
    made.warn("a warning that goes on and on, " * 10)
    assert max(map(len, summary.render(made).splitlines())) <= summary.WIDTH


def test_nanoseconds_stay_nanoseconds_where_they_fit() -> None:
    assert "allocation, ns" in summary.render(document())


def test_warnings_come_last_and_once() -> None:
    made = document()
    for _ in range(3):
        made.warn("memory has been LOST")
    assert summary.render(made).splitlines()[-1] == "warning: memory has been LOST (3 times)"


def test_a_run_cut_short_is_not_mistaken_for_a_whole_one() -> None:
    made = document()
    made.end(complete=False, reason="stopped by SIGINT", exit_code=130)
    assert summary.render(made).splitlines()[-1] == "NOT COMPLETE: stopped by SIGINT"


def test_a_run_that_measured_nothing_still_has_a_summary() -> None:
    made = document()
    made.metrics.clear()
    made.end(complete=False, reason="stopped by SIGINT", exit_code=130)
    assert "NOT COMPLETE" in summary.render(made)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (55, "ns", "55"),
        (0.4, "us", "0.400"),
        (5.631, "us", "5.63"),
        (120.24, "us", "120.2"),
        (20_682.4, "us", "20,682"),
    ],
)
def test_numbers_have_the_decimals_that_matter(value: float, unit: str, text: str) -> None:
    assert summary.number(value, unit) == text

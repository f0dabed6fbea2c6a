# SPDX-License-Identifier: GPL-2.0-only
"""The summary tells the truth, and fits."""

from __future__ import annotations

import random
import re

import pytest

from page_alloc_bench.runner.result import quantile, summary
from page_alloc_bench.runner.result.document import Document


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


def test_the_maximum_is_of_all_that_was_timed_not_of_the_sample() -> None:
    assert "9,000" in summary.render(document(largest_ns=9_000))


def loss(idle: list[int], antagonized: list[int], held: list[int]) -> str:
    """What the summary says of memory that nobody had; amounts in MiB."""
    made = document()
    for name, values in (
        ("idle_available_bytes", idle),
        ("antagonized_available_bytes", antagonized),
        ("antagonist_held_bytes", held),
    ):
        made.put(name, 4, [value << 20 for value in values])
    lines = " ".join(summary.render(made).split())
    return lines[lines.index("memory: idle - ") :].partition(" allocations/s")[0]


def test_memory_that_is_unaccounted_for_is_shown() -> None:
    text = " ".join(summary.render(document()).split())
    assert "memory: idle - antagonized - what the antagonist holds = 5.0 MiB" in text


def test_memory_that_nobody_had_is_told_with_how_sure_that_is() -> None:
    told = loss([1000, 1002, 998, 1000], [880, 884, 876, 880], [100, 100, 100, 100])
    # Standard errors of the means: 0.816 and 1.633.
    assert "holds = 20.0 +/- 3.7 MiB (means, two standard errors)" in told
    assert "within the difference" not in told
    # What is held is missing from what the child gets: together they vary little.
    told = loss([1000, 1002, 998, 1000], [880, 840, 920, 880], [100, 140, 60, 100])
    assert "holds = 20.0 +/- 1.6 MiB" in told


def reached(idle: list[int], antagonized: list[int]) -> str:
    """What the summary says where it is also known what lay on the lists of the CPUs, in MiB."""
    made = document()
    for phase, values in (("idle", idle), ("antagonized", antagonized)):
        made.put(f"{phase}_available_bytes", 4, [700 << 20] * 3)
        made.put(f"{phase}_reachable_bytes", 4, [value << 20 for value in values])
    made.put("antagonist_held_bytes", 4, [100 << 20] * 3)
    return " ".join(summary.render(made).split())


def test_what_lay_on_the_lists_of_the_cpus_is_not_lost() -> None:
    """From 6.7 on these keep what earlier phases left there: available memory alone would mislead.

    Without it the line would say -100.0.
    """
    told = reached([1000, 1002, 998], [880, 884, 876])
    assert (
        "memory with the lists of the CPUs: idle - antagonized - what the antagonist holds = "
        "20.0 +/- 5.2 MiB"
    ) in told
    # Where it is not known of each iteration, nothing is mixed.
    told = reached([1000, 1002, 998], [880, 884])
    assert "memory: idle - antagonized - what the antagonist holds = -100.0 +/- 0.0 MiB" in told


def test_less_than_nothing_is_explained() -> None:
    told = loss([1000, 1010, 990], [905, 895, 906], [100, 100, 100])
    assert "holds = -2.0 +/- 13.5 MiB" in told
    assert "within the difference between iterations" in told
    told = loss([1000, 1000], [905, 905], [100, 100])
    assert "holds = -5.0 MiB (means; too few iterations to tell how sure that is)" in told


@pytest.mark.parametrize(
    ("samples", "figures"),
    [
        (1, set()),
        (2, set()),
        (3, {"median"}),
        (19, {"median"}),
        (20, {"median", "p95"}),
        (100, {"median", "p95", "p99"}),
        (999, {"median", "p95", "p99"}),
        (1000, {"median", "p95", "p99", "p99.9"}),
    ],
)
def test_a_percentile_is_shown_where_so_many_values_have_one(
    samples: int, figures: set[str]
) -> None:
    made = document()
    made.metrics.clear()
    made.put("idle_available_bytes", 4, [(index + 1) << 20 for index in range(samples)])
    header, row = summary.render(made).splitlines()[4:6]
    cells = dict(zip(header.split(), re.split("[KM]iB", row)[1].split(), strict=True))
    names = ("median", "p95", "p99", "p99.9")
    assert {name for name in names if cells[name] != "-"} == figures
    assert {name for name in names if quantile.enough(name, samples)} == figures
    assert cells["samples"] == f"{samples:,}"
    assert "-" not in (cells["min"], cells["mean"], cells["max"])


def test_a_maximum_of_more_than_the_samples_is_marked() -> None:
    made = document()
    assert "9,000*" in summary.render(made)
    assert "* of all that were timed, not of the samples only" in summary.render(made)
    made.put("kernel_page_allocs_timed", 4, [50_000])  # all are in the sample
    assert "*" not in summary.render(made)


WIDTHS = (40, 41, 50, 60, 72, 79, 80)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("largest_ns", [90, 280_000_000, 10**12])
@pytest.mark.parametrize("memory", [64 << 20, 2 << 30, 12 << 40])
def test_columns_are_dropped_and_no_digit_is(width: int, largest_ns: int, memory: int) -> None:
    made = document(largest_ns, memory)
    made.warn("a warning that goes on and on, " * 10)
    lines = summary.render(made, width).splitlines()
    assert max(map(len, lines)) <= width
    at = next(index for index, line in enumerate(lines) if "median" in line)
    names = lines[at].split()
    for line in lines[at + 1 : at + 5]:
        cells = re.split(r"(?<=KiB|MiB|GiB|TiB) +|(?<=ns|us|ms| s) +", line.strip(), maxsplit=1)[1]
        assert len(cells.split()) == len(names), line
        for cell in cells.split():
            assert re.fullmatch(r"-|[\d,]+(\.\d+)?\*?", cell), line


def test_all_columns_are_there_where_they_fit() -> None:
    text = summary.render(document(), 100)
    header = next(line for line in text.splitlines() if "median" in line)
    assert header.split() == ["samples", "min", "mean", "median", "p95", "p99", "p99.9", "max"]
    narrow = summary.render(document(), 40)
    header = next(line for line in narrow.splitlines() if "median" in line)
    assert "p95" not in header.split()
    assert "median" in header.split()


def test_warnings_that_were_told_are_not_told_again() -> None:
    made = document()
    made.warn("the clock is slow")
    made.warn("memory went astray")
    text = summary.render(made, told=["the clock is slow"])
    assert "warning: memory went astray" in text
    assert "the clock is slow" not in text
    assert "1 warning(s) above, and in the result: run.warnings" in text


def test_rates_counts_and_what_was_timed_are_shown() -> None:
    text = " ".join(summary.render(document()).split())
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

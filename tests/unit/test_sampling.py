# SPDX-License-Identifier: GPL-2.0-only
"""The merged sample is uniform over the operations of all CPUs."""

from __future__ import annotations

import random
import tracemalloc
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from page_alloc_bench.runner.module import sampling

# What each of four CPUs timed, as uneven as a run gets, and how much of it the module keeps.
TIMED = (40_000, 8_000, 1_500, 300)
CAPACITY = 2_000
SIZE = 1_000

Merge = Callable[[Sequence[int], Sequence[Sequence[int]], int, int], Sequence[int]]


def merge(
    timed: Sequence[int], reservoirs: Sequence[Sequence[int]], size: int, seed: int
) -> Sequence[int]:
    """What the runner makes of reservoirs, which it looks at once, one after the other."""
    return sampling.merge_samples(timed, list(map(len, reservoirs)), iter(reservoirs), size, seed)


def reservoirs(seed: int) -> list[list[int]]:
    """Return a uniform sample of each CPU's operations, which are told by 1e6 cpu + number."""
    rng = random.Random(seed)
    return [
        [1_000_000 * cpu + n for n in rng.sample(range(timed), min(timed, CAPACITY))]
        for cpu, timed in enumerate(TIMED)
    ]


def concatenate(
    _timed: Sequence[int], kept: Sequence[Sequence[int]], size: int, seed: int
) -> list[int]:
    """The wrong way: as much from each CPU, whatever it did."""
    everything = [latency for reservoir in kept for latency in reservoir]
    return random.Random(seed).sample(everything, size)


def chi_square(merge: Merge, rounds: int = 40) -> float:
    """Return how far the CPUs' shares are from their parts of all operations (3 degrees)."""
    seen: Counter[int] = Counter()
    for seed in range(rounds):
        merged = merge(TIMED, reservoirs(seed), SIZE, seed)
        seen.update(latency // 1_000_000 for latency in merged)
    total = sum(seen.values())
    expected = [total * timed / sum(TIMED) for timed in TIMED]
    return sum((seen[cpu] - e) ** 2 / e for cpu, e in enumerate(expected))


CRITICAL = 16.3  # of chi-square with 3 degrees of freedom, for a probability of 0.001


def test_each_cpu_contributes_by_the_operations_it_timed() -> None:
    assert chi_square(merge) < CRITICAL


def test_concatenating_equal_reservoirs_would_be_found_out() -> None:
    assert chi_square(concatenate) > 100 * CRITICAL


def test_within_a_cpu_early_and_late_operations_are_as_likely() -> None:
    tenths: Counter[int] = Counter()
    for seed in range(40):
        merged = merge(TIMED, reservoirs(seed), SIZE, seed)
        tenths.update(n * 10 // TIMED[0] for n in merged if n < 1_000_000)
    expected = sum(tenths.values()) / 10
    assert sum((tenths[t] - expected) ** 2 / expected for t in range(10)) < 27.9  # 9 degrees, 0.001


def test_any_part_of_the_sample_is_as_uniform_as_the_whole() -> None:
    def first_tenth(*arguments: object) -> Sequence[int]:
        return merge(*arguments)[: SIZE // 10]  # type: ignore[arg-type]

    assert chi_square(first_tenth) < CRITICAL


def test_no_operation_is_drawn_twice() -> None:
    merged = merge(TIMED, reservoirs(1), SIZE, 1)
    assert len(set(merged)) == len(merged) == SIZE


def test_the_same_seed_gives_the_same_sample_and_another_seed_another() -> None:
    kept = reservoirs(1)
    first = merge(TIMED, kept, SIZE, 7)
    assert first == merge(TIMED, kept, SIZE, 7)
    assert first != merge(TIMED, kept, SIZE, 8)


def test_a_cpu_that_did_most_shrinks_the_sample_rather_than_bend_it() -> None:
    """CPU 0 did 80 % and keeps 2 000: a sample of 10 000 would need 8 000 of it."""
    merged = merge(TIMED, reservoirs(1), 10_000, 1)
    share = sum(latency < 1_000_000 for latency in merged) / len(merged)
    assert 1_500 < len(merged) < 2_500
    assert share == pytest.approx(TIMED[0] / sum(TIMED), abs=0.03)


def test_all_is_taken_where_there_is_less_than_asked_for() -> None:
    merged = merge([3, 0, 2], [[1, 2, 3], [], [4, 5]], 100, 1)
    assert sorted(merged) == [1, 2, 3, 4, 5]
    assert len(merge([0, 0], [[], []], 100, 1)) == 0
    assert len(merge([10**9], [range(50_000)], 50_000, 1)) == 50_000


def test_ten_thousand_million_operations_on_1024_cpus_are_no_trouble() -> None:
    size, cpus = 50_000, 1024
    capacity = sampling.capacity_per_cpu(size, cpus)
    merged = merge([10**10 + cpu for cpu in range(cpus)], [range(capacity)] * cpus, size, 1)
    assert len(merged) == size


@pytest.mark.parametrize(
    ("size", "cpus", "capacity"),
    [
        (50_000, 1, 50_000),
        (50_000, 4, 50_000),
        (50_000, 8, 25_000),
        (50_000, 1024, 1024),
        (9, 2, 9),
    ],
)
def test_each_cpu_keeps_four_times_its_share_and_never_more_than_all(
    size: int, cpus: int, capacity: int
) -> None:
    assert sampling.capacity_per_cpu(size, cpus) == capacity


@pytest.mark.parametrize("size", [1, 2_000, 24_900, 24_901, 49_799, 49_800])
def test_any_part_of_all_operations_can_be_drawn(size: int) -> None:
    everything = [[cpu] * timed for cpu, timed in enumerate(TIMED)]
    merged = merge(TIMED, everything, size, 1)
    assert len(merged) == size
    seen = Counter(merged)
    for cpu, timed in enumerate(TIMED):
        expected = size * timed / sum(TIMED)
        assert seen[cpu] <= timed
        assert abs(seen[cpu] - expected) < 5 * expected**0.5 + 1


def test_merging_many_latencies_takes_little_memory() -> None:
    size = 50_000
    timed = [10 * size, 10 * size]

    def reservoirs() -> Iterator[array[int]]:
        for cpu in range(2):
            yield array("Q", range(cpu * 10**9, cpu * 10**9 + size))

    tracemalloc.start()
    try:
        merged = sampling.merge_samples(timed, [size, size], reservoirs(), size, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(set(merged)) == size
    # The result, one reservoir and a copy of it to take from; in Python's integers it were 40.
    assert peak < 4 * 8 * size

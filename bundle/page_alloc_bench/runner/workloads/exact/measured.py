# SPDX-License-Identifier: GPL-2.0-only
"""Measure what an allocation and its free cost in instructions.

Under QEMU's -icount an instruction takes a nanosecond of the guest's time. Each case is so many
allocations after a warm-up, on one CPU, while nothing else runs: this process sleeps longer than
they can take, and the guest's clock leaps over what is left of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from page_alloc_bench.runner import workload
from page_alloc_bench.runner.errors import HostUnfitError, RunnerError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.measuring.bench import Bench

from . import COUNTS, PHASE

UNIT = "instructions"
_BLOCKS = 1000  # that the antagonist holds, and of a burst, where they are small
_HELD_BYTES = 128 << 20  # at most, of larger blocks
_WARM_UP = 10  # its allocations are this part of the case's
_SLOWEST_NS = 10_000  # an operation of a small order; larger blocks may take longer
_SMALL = 4
_CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"


class Case(NamedTuple):
    """What is measured at once. allocs: how many; the rest is as Device.configure() has it."""

    name: str
    pattern: str
    order: int
    parameters: dict[str, int]
    allocs: int


def cases(order: int, allocs: int) -> Iterator[Case]:
    """Yield the cases of an order, in the order of time. allocs: of each, about."""
    blocks = min(_BLOCKS, max(1, _HELD_BYTES // (2 * (procfs.page_size() << order))))
    for each in workload.counted():
        case = each.case(order, blocks, allocs)
        if case is not None:
            yield Case(each.name, each.pattern, order, *case)


def run(bench: Bench) -> None:
    """Measure each case. Raises HostUnfitError where nothing counts, and RunnerError."""
    with open("/proc/cmdline") as file:
        if COUNTS not in file.read().split():
            raise HostUnfitError(
                "--workload exact is for a guest that counts instructions; start one with: "
                "page-alloc-bench vm --exact"
            )
    if len(bench.cpus) != 1:
        raise HostUnfitError(f"--workload exact takes one CPU, not {len(bench.cpus)}")
    with open(_CLOCK) as file:
        bench.document.run["exact"] = {
            "unit": UNIT,
            "clocksource": file.read().strip(),
            "cases": [],
        }
    for order in bench.options.alloc_orders:
        with bench.phase(PHASE, order):
            for case in cases(order, bench.options.exact_allocs):
                if not bench.device.lacks(case.pattern):
                    _measure(bench, case)
        bench.case_ended()


def _measure(bench: Bench, case: Case) -> None:
    """Measure a case, and put it into the document."""
    _go(bench, case, max(case.allocs // _WARM_UP, 1))
    _go(bench, case, case.allocs)
    stats = bench.device.cpu_stats(bench.cpus[0])
    if stats.failures:
        raise RunnerError(
            f"{case.name} at order {case.order}: {stats.failures} allocations failed; give the "
            "guest more memory"
        )
    duration_ns = stats.end_ns - stats.begin_ns
    done = bench.document.run["exact"]["cases"]
    done.append(
        {
            "pattern": case.name,
            "order": case.order,
            "parameters": case.parameters,
            # Of the intervals between markers that an emulator sees, the warm-ups among them.
            "interval": 2 * len(done) + 1,
            "instructions": duration_ns,
            "allocs": stats.allocs,
            "frees": stats.frees,
        }
    )
    name = f"exact_{case.name}_instructions_per_1000_operations"
    bench.document.put(name, case.order, [round(duration_ns * 1000 / stats.allocs)])


def _go(bench: Bench, case: Case, allocs: int) -> None:
    """Let the worker make its allocations while this process sleeps."""
    bench.device.configure(
        pattern=case.pattern,
        parameters=case.parameters,
        order=case.order,
        seed=bench.options.seed,
        cpus=bench.cpus,
        time_one_in=0,
        sample_capacity=0,
        allocs=allocs,
    )
    bench.device.start()
    while True:
        time.sleep(1 + (allocs * _SLOWEST_NS << max(case.order - _SMALL, 0)) / 1e9)
        progress = bench.device.progress()
        if progress.finished:
            break
        if progress.displaced:
            raise RunnerError(f"CPU {bench.cpus[0]} has gone offline")
    bench.device.stop()

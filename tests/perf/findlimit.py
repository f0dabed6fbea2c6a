# SPDX-License-Identifier: GPL-2.0-only
"""findlimit against a C program that does the same with nothing around it."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lab
from page_alloc_bench.targets.guest import Guest
from perf.figures import Figure, at_most

ROUNDS = 5

MEASURE = """
import json, os
from page_alloc_bench.runner.measuring.findlimit import measure as findlimit
limit = findlimit.measure(findlimit.Settings(cpus=tuple(sorted(os.sched_getaffinity(0)))))
print(json.dumps([limit.available_bytes, round(limit.duration_s * 1e9)]))
"""


def against_c(guest: Guest) -> Iterator[Figure]:
    """Alternate the two in one guest; the first round, which finds it untouched, is left out."""
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        binary = Path(scratch) / "populate"
        source = Path(__file__).with_name("populate.c")
        command = ["gcc", "-O2", "-pthread", "-static", "-o", str(binary), str(source)]
        subprocess.run(command, check=True)
        guest.copy_to(binary, f"{lab.IN_GUEST}/")
    ours, reference = [], []
    for _ in range(ROUNDS + 1):
        printed = guest.run(f"{lab.IN_GUEST}/populate").stdout.split()
        reference.append(_seconds_per_gib(*map(int, printed)))
        ours.append(_seconds_per_gib(*lab.python(guest, MEASURE)))
    ratio = statistics.median(ours[1:]) / statistics.median(reference[1:])
    yield at_most("findlimit / C program, seconds per GiB", ratio, 1.10)


def _seconds_per_gib(size_bytes: int, duration_ns: int) -> float:
    return duration_ns / 1e9 / (size_bytes / 2**30)

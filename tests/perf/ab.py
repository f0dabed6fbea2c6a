# SPDX-License-Identifier: GPL-2.0-only
"""What a comparison by time costs beside its boots and runs."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import campaigns
import recorded
from page_alloc_bench.analysis.campaign_directory import read
from page_alloc_bench.campaign.timed.judging import judge
from page_alloc_bench.packager import build
from page_alloc_bench.targets import bootable
from page_alloc_bench.targets.outcome import Outcome
from perf.figures import Figure, at_most

KERNEL = "6.1"
BOOTS = 6
_RUN = ("--workload", "pairs", "--duration-s", "5", "--repeat", "1", "--alloc-orders", "0")


def alone() -> Iterator[Figure]:
    """Go through up to forty boots of recorded results with all looks, and no guest.

    The shortest boots and runs take 7 s: 5 % of that is the bar.
    """
    recordings = itertools.cycle(recorded.documents(recorded.BASE))

    def whole(number: int) -> Outcome:
        document = copy.deepcopy(next(recordings))
        document["run"] |= {"boot_id": str(uuid.uuid4())}
        key = "kernel_page_allocs_order0"
        document[key] = [value + number for value in document[key]]
        return Outcome("ok", document)

    sides = [campaigns.Kernel(name, iter(())) for name in ("base", "new")]
    for side in sides:
        side.ends = whole
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        began = time.process_time()
        campaigns.run(Path(scratch), *sides, judge=lambda d: replace(judge(d), hopeless=False))
        taken = time.process_time() - began
        boots = len(read(Path(scratch)).attempts)
    yield at_most(f"ab: its CPU time for each of {boots} boots, s", taken / boots, 0.35)


def overhead() -> Iterator[Figure]:
    """Compare a kernel with itself, in twelve boots, whose module has been built before."""
    kernel = bootable.find(KERNEL)
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        directory = Path(scratch)
        bundle = directory / "bundle-0.run"
        build.build(build.BuildRequest(**vars(kernel.request), output=bundle))
        words = ["ab", "--base", KERNEL, "--aa", "--max-boots", str(BOOTS), "--cpus", "2"]
        words += ["--nodes", "1", "--mem", "512M", "--accel", "tcg", "--dir", scratch, "--", *_RUN]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "page_alloc_bench.cli", *words],
            check=False,
            capture_output=True,
            text=True,
        )
        taken = time.monotonic() - began
        if done.returncode > 2:
            raise RuntimeError(f"ab ended with {done.returncode}:\n{done.stderr}")
        booted = sum(each["wall"] for each in read(directory).attempts)
    yield at_most("ab: its time beside boots and runs, %", 100 * (1 - booted / taken), 5)

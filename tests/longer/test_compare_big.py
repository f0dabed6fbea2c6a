# SPDX-License-Identifier: GPL-2.0-only
"""A hundred results with as many latencies as a bundle keeps are compared while one waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import recorded

RESULTS = 100
SAMPLES = 50_000
SECONDS = 5.0
MEGABYTES = 500


def grow(result: recorded.Document, seed: int) -> recorded.Document:
    """Return the result with a full sample of each latency, drawn from what was sampled."""
    rng = np.random.default_rng(seed)
    grown = {}
    for name, values in result.items():
        if "_latencies_ns_order" in name and values:
            noise = rng.normal(1, 0.02, SAMPLES)
            grown[name] = np.rint(rng.choice(values, SAMPLES) * noise).astype(int).tolist()
        else:
            grown[name] = values
    grown["antagonist_held_bytes_order0"] = [seed]  # so that no two are the same run
    return grown


def test_a_hundred_results_of_50_000_samples_are_compared_in_5_s_and_500_mb(tmp_path: Path) -> None:
    recorded_runs = recorded.documents(recorded.BASE)
    for number in range(RESULTS):
        grown = grow(recorded_runs[number % len(recorded_runs)], number)
        assert sum(len(v) == SAMPLES for n, v in grown.items() if n != "run") >= 4
        side = tmp_path / ("base" if number % 2 else "new")
        side.mkdir(exist_ok=True)
        (side / f"{number:03}.json").write_text(json.dumps(grown))
    command = [sys.executable, "-m", "page_alloc_bench.cli", "compare",
               tmp_path / "base", "--vs", tmp_path / "new", "-o", tmp_path / "o.json"]  # fmt: skip
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, 1, 2)
    document = json.loads((tmp_path / "o.json").read_text())
    assert len(document["base"]) == len(document["new"]) == RESULTS / 2
    print(used.ru_utime, used.ru_stime, used.ru_maxrss)
    # CPU time is what a quiet machine would take: the work is in one thread.
    assert used.ru_utime + used.ru_stime <= SECONDS
    assert used.ru_maxrss * 1024 <= MEGABYTES * 1e6

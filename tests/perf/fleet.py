# SPDX-License-Identifier: GPL-2.0-only
"""What it takes to ask a store of many runs, and to find what changed in a long series."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import recorded
from page_alloc_bench.analysis import results, tidy
from page_alloc_bench.analysis.store import index, keep, place
from perf.figures import Figure, at_most

RUNS, RELEASES, HOSTS = 10_000, 20, 200
COMMITS, BOOTS = 200, 5
OF_METRIC = "FROM metrics WHERE metric = 'idle_available_bytes' AND alloc_order = 0"
BY_RELEASE = f"SELECT release, median(median) {OF_METRIC} GROUP BY release"
WORST_HOSTS = f"SELECT host, median(median) AS m {OF_METRIC} GROUP BY host ORDER BY m LIMIT 10"


def store() -> Iterator[Figure]:
    """Ask a store that is made of copies of the recorded runs under other names."""
    with tempfile.TemporaryDirectory(prefix="pab-store.") as scratch:
        few = place.make_store(Path(scratch) / "few")
        runs = tidy.runs(map(results.load, sorted(recorded.BASE.iterdir())), print)
        list(keep.add(few, runs))
        files = [stored.path.read_bytes() for stored in few.listed()]
        yield at_most("store, kB a run", max(map(len, files)) / 1000, 15)
        many = place.make_store(Path(scratch) / "many")
        for number in range(RUNS):
            path = many.place_of(f"6.{number % RELEASES}", f"{number % HOSTS:032x}", f"{number:x}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[number % len(files)])
        index.complete(many)
        for what, sql in (("median by release", BY_RELEASE), ("ten worst hosts", WORST_HOSTS)):
            seconds, megabytes = _asked("query", "--store", many.root, sql)
            yield at_most(f"10,000 runs, {what}, s", seconds, 2)
            yield at_most(f"10,000 runs, {what}, MB", megabytes, 500)


def trend() -> Iterator[Figure]:
    """Look at runs of many commits, which are recorded ones with some noise."""
    documents = recorded.documents(recorded.BASE)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="pab-trend.") as scratch:
        for number in range(COMMITS * BOOTS):
            document = recorded.plant_memory(
                documents[number % len(documents)], 1 + rng.normal(0, 0.005)
            )
            run = document["run"] = json.loads(json.dumps(document["run"]))
            run.update(
                boot_id=str(number), labels={"commit": f"{number // BOOTS:012x}"},
                started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(number * 600)),
            )  # fmt: skip
            Path(scratch, f"{number}.json").write_text(json.dumps(document))
        store = Path(scratch, "store")
        subprocess.run([*_COMMAND, "store", "add", store, scratch], check=True)
        seconds, _ = _asked("trend", "--store", store, "--metric", "*", "-o", os.devnull)
        yield at_most("trend, 200 commits of 5 boots, s", seconds, 15)


_COMMAND = (sys.executable, "-m", "page_alloc_bench.cli")


def _asked(*arguments: object) -> tuple[float, float]:
    """Run a command; return the seconds it takes and the megabytes that it has at most."""
    began = time.monotonic()
    child = subprocess.Popen([*_COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, 1)
    return time.monotonic() - began, used.ru_maxrss / 1000

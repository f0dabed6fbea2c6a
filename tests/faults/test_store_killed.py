# SPDX-License-Identifier: GPL-2.0-only
"""Who writes a run into a store is killed ten thousand times: the run is there whole, or not."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from page_alloc_bench import outputs
from page_alloc_bench.analysis import results, tidy
from page_alloc_bench.analysis.store import keep, place
from page_alloc_bench.analysis.store.place import Store
from recorded import BASE

pytestmark = pytest.mark.seconds(90)

TIMES = 10_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a run, as a store has it."""
    store = place.make_store(tmp_path_factory.mktemp("store"))
    run = tidy.runs(map(results.load, sorted(BASE.iterdir())[:1]), print)
    list(keep.add(store, run))
    [stored] = store.listed()
    return stored.path.read_bytes()


def write(path: Path, content: bytes) -> None:
    """Write it as the store does, once the rows are in memory."""
    os.makedirs(path.parent, exist_ok=True)
    with outputs.OutputFile(path) as stream:
        shutil.copyfileobj(io.BytesIO(content), stream, 512)


def killed(path: Path, content: bytes, after_s: float) -> float:
    """Have a child write it and kill that after so many seconds; return how long it lived."""
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            write(path, content)
        finally:
            os._exit(0)
    while time.perf_counter() - began < after_s:
        pass  # sleep() is longer than what is to be hit
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.perf_counter() - began


def test_a_run_is_there_whole_or_not_at_all(whole: bytes, tmp_path: Path) -> None:
    store: Store = place.make_store(tmp_path)
    path = store.place_of("6.1.0", "host", "run")
    chance = random.Random(1)
    longest = max(killed(path, whole, 1e-9 if again else 0.02) for again in range(20))
    ends: Counter[str] = Counter()
    for _ in range(TIMES):
        path.unlink(missing_ok=True)
        killed(path, whole, chance.uniform(0, longest))
        there = [each for each in path.parent.iterdir() if each.is_file()]
        assert there in ([], [path])
        if there:
            assert path.read_bytes() == whole
        ends["whole" if there else "absent"] += 1
    assert min(ends["whole"], ends["absent"]) > TIMES / 100, ends
    print(ends)

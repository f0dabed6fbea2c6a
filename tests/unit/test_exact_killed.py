# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of boots that is killed at any moment goes on where it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Kernels that boot in no time, and write more than one block of a disk.
CAMPAIGN = """
import sys, time
from pathlib import Path
from page_alloc_bench.campaign import exact
from page_alloc_bench.campaign.journal import Journal

class Kernel:
    def __init__(self, name, cost):
        self.name, self.label, self.cost = name, name, cost

    def measure(self, seed):
        time.sleep(float(sys.argv[2]))
        case = {"pattern": "pairs", "order": 0, "instructions": self.cost * 1000, "allocs": 1000}
        return {"run": {"exact": {"cases": [case]}}, "padding": "x" * 200_000}, "console"

journal = Journal(Path(sys.argv[1]))
journal.begin({"base": "a", "new": "b"})
print("begun", flush=True)
sides, failures = exact.run(
    journal, [Kernel(name, 700 + n) for n, name in enumerate(("base", "new1", "new2", "new3"))],
    at_once=2, note=lambda text: None)
assert not failures
print(*(f"{side.name}={len(side.results)}" for side in sides))
"""


def start(directory: Path, boot_s: float = 0.02) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CAMPAIGN, str(directory), str(boot_s)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_goes_on(tmp_path: Path, seed: int) -> None:
    chance, killed = random.Random(seed), 0
    while True:
        process = start(tmp_path)
        assert process.stdout is not None
        process.stdout.readline()  # the campaign has begun
        time.sleep(chance.uniform(0, 0.06))
        if killed >= 12:
            break
        os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        if process.returncode == 0:
            break
    out, _ = process.communicate(timeout=60) if process.returncode is None else ("", "")
    assert process.returncode == 0
    # Whatever the journal calls ok is there, and whole; nothing else is.
    sound = []
    for line in (tmp_path / "attempts.jsonl").read_text().splitlines():
        try:
            attempt = json.loads(line)
        except ValueError:
            continue  # cut off by a kill
        sound.append(attempt["file"])
        assert len(json.loads((tmp_path / attempt["file"]).read_text())["padding"]) == 200_000
    assert len(sound) == len(set(sound)) == 8
    if out:
        assert "base=2 new1=2 new2=2 new3=2" in out


def test_two_of_them_do_not_work_in_one_directory(tmp_path: Path) -> None:
    first = start(tmp_path, boot_s=600)
    assert first.stdout is not None
    first.stdout.readline()
    second = start(tmp_path)
    _, said = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert "another process works in" in said
    # The lock went with the process.
    assert start(tmp_path).wait(timeout=60) == 0

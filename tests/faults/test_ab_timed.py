# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons by time in guests: killed and continued, and with a kernel that does not boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from page_alloc_bench import jsonl

GUEST = ("--cpus", "2", "--nodes", "1", "--mem", "512M", "--accel", "tcg", "--seed", "1")
RUN = ("--workload", "pairs", "--duration-s", "1", "--repeat", "1", "--alloc-orders", "0")
METRIC = "pairs_allocs_per_second"
BOOT_S = 900  # until a boot and its run are over, however busy this host is


def command(directory: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "page_alloc_bench.cli", "ab", "--base", "6.1", "--new", "6.1"]
    return [*program, *GUEST, "--dir", str(directory), *more, "--", *RUN]


def attempts(directory: Path) -> list[dict[str, Any]]:
    return jsonl.read(directory / "attempts.jsonl")


def await_boots(directory: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + number * BOOT_S
    while len(attempts(directory)) < number:
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_killed_comparison_goes_on_and_finds_what_clearing_costs(tmp_path: Path) -> None:
    cleared = ("--cmdline-base", "init_on_alloc=0", "--cmdline-new", "init_on_alloc=1")
    words = command(tmp_path, *cleared, "--max-boots", "4", "--metric", METRIC)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        await_boots(tmp_path, 2, process)
        time.sleep(2)  # into the third boot
        os.kill(process.pid, signal.SIGKILL)
    plan, before = (tmp_path / "plan.json").read_bytes(), attempts(tmp_path)
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Regression of 5 % or more" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 72
    assert f"going on with {tmp_path}" in done.stderr
    made = attempts(tmp_path)
    assert made[: len(before)] == before
    assert (tmp_path / "plan.json").read_bytes() == plan
    assert [each["side"] for each in made] == json.loads(plan)["schedule"]
    again = [sys.executable, "-m", "page_alloc_bench.cli", "compare", str(tmp_path)]
    assert subprocess.run(again, check=False, capture_output=True).returncode == 1


def test_a_kernel_that_does_not_boot_is_a_result(tmp_path: Path) -> None:
    """The new one is told of a first program that is not there, and panics for want of a root."""
    done = subprocess.run(
        command(tmp_path, "--cmdline-new", "rdinit=/none"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4, done.stderr
    ends = [(each["side"], each["end"]) for each in attempts(tmp_path)]
    assert len(ends) == 4
    assert {end for side, end in ends if side == "base"} == {"ok"}
    assert {end for side, end in ends if side == "new"} == {"panic"}
    first = next(each for each in attempts(tmp_path) if each["side"] == "new")
    assert (tmp_path / first["console"]).read_text()
    assert "new does not survive" in done.stdout
    assert "new 0 of 2" in done.stdout

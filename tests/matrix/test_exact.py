# SPDX-License-Identifier: GPL-2.0-only
"""``ab --exact`` in real guests: killed in the middle of a boot, and gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from page_alloc_bench.targets import bootable, exact, kernel_bundle

pytestmark = pytest.mark.seconds(150)

ALLOCS = 20_000


def command(directory: Path) -> list[str]:
    return [
        sys.executable, "-m", "page_alloc_bench.cli", "ab", "--exact", "--base", "6.1",
        "--new", "6.1", "--threshold", "1%", "--dir", str(directory),
        "--", "--alloc-orders", "0", "--exact-allocs", str(ALLOCS),
    ]  # fmt: skip


def guests_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if "qemu" in child.name()]


def await_guest(started: subprocess.Popen[str]) -> list[psutil.Process]:
    """The guests of a campaign, as soon as it has one."""
    parent = psutil.Process(started.pid)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and started.poll() is None:
        if found := guests_of(parent):
            return found
        time.sleep(0.1)
    raise AssertionError("no guest was started")


def test_killed_in_a_boot_it_leaves_no_guest_and_goes_on(tmp_path: Path) -> None:
    first = subprocess.Popen(command(tmp_path), stderr=subprocess.PIPE, text=True)
    guests = await_guest(first)
    time.sleep(1)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    gone, alive = psutil.wait_procs(guests, timeout=30)
    assert len(gone) == len(guests)
    assert not alive

    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no regression: 0 of" in done.stdout
    assert f"going on with {tmp_path}" in done.stderr
    # All of it is counted, and nothing twice.
    for path in (*(tmp_path / "base").iterdir(), *(tmp_path / "new").iterdir()):
        run = json.loads(path.read_text())["run"]
        assert {case["pattern"] for case in run["exact"]["cases"]} >= {
            "antagonist",
            "pairs",
            "bursts",
        }
        for case, where in zip(run["exact"]["cases"], run["where"]):
            assert where["total"]["instructions"] == pytest.approx(case["instructions"], rel=1e-3)
            named = sum(function["instructions"] for function in where["functions"])
            assert named == where["total"]["instructions"]
            assert where["total"]["atomics"] / case["allocs"] == pytest.approx(3.0, abs=0.05)


def test_a_boot_with_the_same_seed_is_the_same_to_the_instruction(tmp_path: Path) -> None:
    kernel = bootable.find("6.1")
    kernel_bundle.build(kernel, tmp_path / "bench.run")
    options = ["--alloc-orders", "0,4", "--exact-allocs", str(ALLOCS)]

    def counted(seed: int) -> tuple[Any, Any]:
        run = exact.measure(tmp_path / "bench.run", kernel.image, kernel.arch, options, seed=seed)[
            "run"
        ]
        return run["exact"]["cases"], run["where"]

    first = counted(1)
    assert counted(1) == first
    assert counted(2) != first  # memory is laid out in another way


def test_no_thread_of_the_kernel_works_beside_what_is_counted(tmp_path: Path) -> None:
    """khugepaged and DAMON's thread, which Debian's newest kernels start, worked there before."""
    words = ["--base", "7.3", "--new", "6.12", "--threshold", "100%", "--dir", str(tmp_path)]
    options = ["--", "--alloc-orders", "0,9", "--exact-allocs", str(ALLOCS)]
    tool = [sys.executable, "-m", "page_alloc_bench.cli", "ab", "--exact"]
    done = subprocess.run([*tool, *words, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {
        function["name"]
        for path in (*(tmp_path / "base").iterdir(), *(tmp_path / "new").iterdir())
        for where in json.loads(path.read_text())["run"]["where"]
        for function in where["functions"]
    }
    assert "get_page_from_freelist" in names
    assert not {name for name in names if re.search(r"damon|khugepaged|collapse_scan", name)}

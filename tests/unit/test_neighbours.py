# SPDX-License-Identifier: GPL-2.0-only
"""Processes that would spoil the measurement are named before it begins."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from page_alloc_bench.runner import neighbours


def test_a_busy_process_is_named() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        # Other load may keep the CPUs so busy that one process gets less than half of one.
        neighbours_seen = [neighbours.warnings() for _ in range(3)]
    finally:
        busy.kill()
        busy.wait()
    assert any(f"(PID {busy.pid})" in line for seen in neighbours_seen for line in seen)


def test_an_idle_process_is_not_named() -> None:
    idle = subprocess.Popen(["sleep", "60"])
    try:
        assert not any(f"(PID {idle.pid})" in line for line in neighbours.warnings())
    finally:
        idle.kill()
        idle.wait()


def test_a_daemon_that_kills_before_the_kernel_does_is_named(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    daemon_path = tmp_path / "earlyoom"
    shutil.copy(sleep, daemon_path)
    daemon = subprocess.Popen([daemon_path, "60"])
    try:
        time.sleep(0.1)
        found = [line for line in neighbours.warnings() if f"(PID {daemon.pid})" in line]
    finally:
        daemon.kill()
        daemon.wait()
    assert len(found) == 1
    assert "stop it while the benchmark runs" in found[0]

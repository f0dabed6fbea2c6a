# SPDX-License-Identifier: GPL-2.0-only
"""A run in which nothing moves is noticed in time, not before, and described."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.runner.kernel import pidfd
from page_alloc_bench.runner.measuring import stall
from page_alloc_bench.runner.measuring.findlimit import child
from page_alloc_bench.runner.measuring.findlimit.board import Board


def test_a_clock_runs_while_nothing_changes() -> None:
    clock = stall.Clock(0.05)
    assert not clock.stalled(1)
    time.sleep(0.06)
    assert not clock.stalled(2)
    assert not clock.stalled(2)
    time.sleep(0.06)
    assert clock.stalled(2)
    clock.reset()
    assert not clock.stalled(2)


def test_a_limit_of_zero_is_none() -> None:
    clock = stall.Clock(0)
    clock.stalled(1)
    time.sleep(0.01)
    assert not clock.stalled(1)


class Log:
    """The kernel's log: what is in it after the reports have been asked for."""

    def __init__(self, batches: list[list[str]]) -> None:
        self._batches = batches

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def messages(self) -> list[str]:
        return self._batches.pop(0) if self._batches else []

    def wait(self, timeout_s: float) -> None:
        pass


@pytest.fixture
def sysrq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for /proc/sysrq-trigger, so that this machine does not report to its log."""
    path = tmp_path / "trigger"
    monkeypatch.setattr(stall, "SYSRQ", str(path))
    return path


def test_a_record_has_what_the_kernel_says(sysrq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "KernelLog", lambda: Log([[], ["Mem-Info:"], ["task:a"], []]))
    told = stall.record(os.getpid())
    assert sysrq.read_text() == "w"
    assert told["kernel_log"] == ["Mem-Info:", "task:a"]
    assert "MemAvailable:" in told["meminfo"]
    assert "pgfault" in told["vmstat"]
    assert "zone" in told["zoneinfo"]
    assert "count:" not in told["zoneinfo"]
    mine = next(task for task in told["tasks"] if task["tid"] == os.getpid())
    assert mine["state"] == "R (running)"


def test_a_report_that_cannot_be_had_says_why(sysrq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Log:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(stall, "KernelLog", refuse)
    told = stall.record(None)
    assert told["kernel_log"] == ["(no report: the kernel log: Operation not permitted)"]
    assert told["tasks"] == []
    assert not sysrq.exists()


class Kills:
    """The OOM kills in the log, as they become more."""

    def __init__(self, *counts: int) -> None:
        self._counts = list(counts)

    def kills(self) -> list[None]:
        return [None] * (self._counts.pop(0) if len(self._counts) > 1 else self._counts[0])


@pytest.fixture
def sleeper() -> Iterator[tuple[int, int]]:
    """A child that does nothing, by its pid and a descriptor of it."""
    child = subprocess.Popen(["sleep", "60"])
    descriptor = os.pidfd_open(child.pid)
    yield child.pid, descriptor
    child.kill()
    child.wait()
    os.close(descriptor)


def watch(monkeypatch: pytest.MonkeyPatch, log: Any, stall_s: float) -> child.Watch:
    monkeypatch.setattr(child, "PROGRESS_S", 0.02)
    monkeypatch.setattr(stall, "sysrq", lambda: ["the kernel's report"])
    return child.Watch(Board(1), log, stall_s, None)


def test_a_child_that_gets_nothing_has_stalled(
    monkeypatch: pytest.MonkeyPatch, sleeper: tuple[int, int]
) -> None:
    start = time.monotonic()
    with pytest.raises(stall.StalledError, match=r"has 0 MiB and got no more for 0.2 s") as caught:
        watch(monkeypatch, Kills(0), 0.2).until_death(*sleeper)
    assert time.monotonic() - start >= 0.2
    assert caught.value.record["kernel_log"] == ["the kernel's report"]
    assert [task["name"] for task in caught.value.record["tasks"]] == ["sleep"]
    assert caught.value.exit_code == 1


def test_the_oom_killer_at_work_is_progress(
    monkeypatch: pytest.MonkeyPatch, sleeper: tuple[int, int]
) -> None:
    start = time.monotonic()
    with pytest.raises(stall.StalledError):
        watch(monkeypatch, Kills(1, 2, 3, 3), 0.2).until_death(*sleeper)
    assert time.monotonic() - start >= 0.8


def test_a_child_that_dies_has_not_stalled(
    monkeypatch: pytest.MonkeyPatch, sleeper: tuple[int, int]
) -> None:
    os.kill(sleeper[0], signal.SIGKILL)
    watch(monkeypatch, Kills(0), 0.2).until_death(*sleeper)


def test_a_watcher_that_was_stopped_knows_for_how_long(
    sleeper: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = iter([False, True])

    def ended(_descriptor: int, timeout_s: float) -> bool:
        time.sleep(timeout_s + 0.5)  # as SIGSTOP and SIGCONT would have it
        return next(late)

    watching = watch(monkeypatch, Kills(0), 0)
    monkeypatch.setattr(pidfd, "ended", ended)
    watching.until_death(*sleeper)
    assert 0.4 < watching.absent_s < 5

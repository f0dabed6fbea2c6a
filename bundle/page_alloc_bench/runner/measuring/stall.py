# SPDX-License-Identifier: GPL-2.0-only
"""A run that does not move: notice it, and note what the kernel says about it.

A hang out of memory is a result in itself, and often the one that somebody was after.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.kernel.log import KernelLog

SYSRQ = "/proc/sysrq-trigger"
# Documentation/admin-guide/sysrq.rst: m reports memory, w the tasks that are blocked.
_REPORTS = ("m", "w")
_QUIET_S = 0.5
_LOG_S = 10.0
_MOST_LINES = 5000
# mm/vmstat.c, zoneinfo_show_print(): what each CPU keeps; half a megabyte where there are many.
_OF_A_CPU = re.compile(
    r"^ +(cpu|count|high|batch|high_min|high_max|vm stats threshold): .*\n", re.M
)


class StalledError(RunnerError):
    """Nothing has moved for --stall-s; record: what the kernel says about it, for run.stall."""

    def __init__(self, message: str, record: dict[str, Any]) -> None:
        super().__init__(message)
        self.record = record


class Clock:
    """Tells when something has not changed for too long. limit_s: 0 for never."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen: object = None
        self.since = time.monotonic()

    def stalled(self, state: object) -> bool:
        """Return whether the state has been the same for the time allowed."""
        now = time.monotonic()
        if state != self._seen:
            self._seen, self.since = state, now
        return 0 < self._limit_s <= now - self.since

    def reset(self) -> None:
        """Begin again: something has moved."""
        self.since = time.monotonic()


def record(pid: int | None) -> dict[str, Any]:
    """Return what the kernel says about its memory, its blocked tasks, and the threads of pid."""
    zoneinfo = procfs.read_or_none("/proc/zoneinfo")
    return {
        "tasks": [] if pid is None else _threads(pid),
        "meminfo": procfs.read_or_none("/proc/meminfo"),
        "vmstat": procfs.read_or_none("/proc/vmstat"),
        "zoneinfo": None if zoneinfo is None else _OF_A_CPU.sub("", zoneinfo),
        "kernel_log": sysrq(),
    }


def _threads(pid: int) -> list[dict[str, Any]]:
    """Return name, state, and where in the kernel each thread of a process is."""
    try:
        numbers = sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return []
    return [_thread(f"/proc/{pid}/task/{number}", number) for number in numbers]


def _thread(directory: str, number: int) -> dict[str, Any]:
    status = procfs.read_or_none(f"{directory}/status") or ""
    state = re.search(r"^State:\s*(.*)$", status, re.MULTILINE)
    return {
        "tid": number,
        "name": procfs.read_or_none(f"{directory}/comm"),
        "state": state[1] if state else None,
        "wchan": procfs.read_or_none(f"{directory}/wchan"),
        "stack": procfs.read_or_none(f"{directory}/stack"),
    }


def sysrq() -> list[str]:
    """Have the kernel report to its log, and return what it wrote; why not, if it does not."""
    try:
        with KernelLog() as log:
            for key in _REPORTS:
                with open(SYSRQ, "w", encoding="ascii") as trigger:
                    trigger.write(key)
            return _until_quiet(log)
    except OSError as error:
        return [f"(no report: {error.filename or 'the kernel log'}: {error.strerror})"]


def _until_quiet(log: KernelLog) -> list[str]:
    """Return the log's messages until there are none for a while."""
    lines: list[str] = []
    deadline = time.monotonic() + _LOG_S
    while time.monotonic() < deadline and len(lines) < _MOST_LINES:
        new = log.messages()
        if lines and not new:
            break
        lines += new
        log.wait(_QUIET_S)
    return lines[:_MOST_LINES]

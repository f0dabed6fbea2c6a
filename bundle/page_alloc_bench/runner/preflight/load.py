# SPDX-License-Identifier: GPL-2.0-only
"""Other processes that are busy while we would measure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil

from .check import WARN, Check, Finding
from .host import Host

_WATCH_S = 0.5
_BUSY = 0.5  # of one CPU
_BUSY_TOGETHER = 1.0  # CPUs: where many want them, nobody gets much


class Load(Check):
    """What others use of the CPUs."""

    name = "load"
    severity = WARN
    meaning = "it takes CPU time and memory from the benchmark, each time a different amount"
    advice = "stop it, or wait for it to end"

    def look(self, host: Host) -> Iterator[Finding]:
        """Watch every process but us for half a second."""
        psutil.PROCFS_PATH = host.path("proc")
        own = {os.getpid(), os.getppid()}
        others = [process for process in psutil.process_iter() if process.pid not in own]
        start, all_before = time.monotonic(), _all_cpu_s()
        before = {process.pid: (time.monotonic(), _cpu_s(process)) for process in others}
        time.sleep(_WATCH_S)
        together = (_all_cpu_s() - all_before) / (time.monotonic() - start)
        for process in others:
            then, used = before[process.pid]
            share = (_cpu_s(process) - used) / (time.monotonic() - then)
            if share >= _BUSY:
                together -= share
                found = f"{_name(process)} (PID {process.pid}) uses {share:.0%} of a CPU"
                yield self.finding(found)
        if together >= _BUSY_TOGETHER:
            yield self.finding(f"other processes use {together:.1f} CPUs together")


def _all_cpu_s() -> float:
    """Return the time in s that all CPUs together have spent on anybody but us."""
    times, own = psutil.cpu_times(), os.times()
    # A guest's time is in that of its user already.
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return float(busy - own.user - own.system)


def _cpu_s(process: psutil.Process) -> float:
    """Return the CPU time in s that a process has used, 0 if it has gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "a process"


CHECKS = (Load(),)

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


class Load(Check):
    """What others use of the CPUs."""

    name = "load"
    severity = WARN
    meaning = "it takes time and memory from what is measured, and not always as much"
    advice = "stop it, or wait for it to end"

    def look(self, host: Host) -> Iterator[Finding]:
        """Watch every process but us for half a second."""
        psutil.PROCFS_PATH = host.path("proc")
        own = {os.getpid(), os.getppid()}
        others = [process for process in psutil.process_iter() if process.pid not in own]
        before = {process.pid: _cpu_s(process) for process in others}
        time.sleep(_WATCH_S)
        for process in others:
            share = (_cpu_s(process) - before[process.pid]) / _WATCH_S
            if share >= _BUSY:
                yield self.finding(
                    f"{_name(process)} (PID {process.pid}) uses {share:.0%} of a CPU"
                )


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

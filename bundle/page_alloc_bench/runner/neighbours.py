# SPDX-License-Identifier: GPL-2.0-only
"""Other processes of the host that would spoil the measurement."""

from __future__ import annotations

import os
import time

# They end processes when memory gets short, before the kernel does.
_OOM_DAEMONS = ("earlyoom", "nohang", "oomd", "systemd-oomd")
_WATCH_S = 0.5
_BUSY = 0.5  # of one CPU


def warnings() -> list[str]:
    """Return a line for each process that would spoil the measurement, and what to do about it."""
    try:
        import psutil

        own = {os.getpid(), os.getppid()}
        others = [process for process in psutil.process_iter(["name"]) if process.pid not in own]
        before = {process.pid: _cpu_s(process) for process in others}
        time.sleep(_WATCH_S)
        return [
            line
            for process in others
            for line in _judge(process.pid, process.info["name"], _cpu_s(process), before)
        ]
    except Exception as error:  # what cannot be seen is said, and is no reason not to measure
        return [f"cannot look at the host's other processes: {type(error).__name__}: {error}"]


def _cpu_s(process: object) -> float:
    """Return the CPU time in s that a process has used, 0 if it has gone."""
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _judge(pid: int, name: str, cpu_s: float, before: dict[int, float]) -> list[str]:
    """Return what is wrong with one process: nothing, as a rule."""
    lines = []
    if name in _OOM_DAEMONS:
        lines.append(
            f"{name} (PID {pid}) kills processes before the kernel's OOM killer does: stop it "
            "while the benchmark runs"
        )
    load = (cpu_s - before[pid]) / _WATCH_S
    if load >= _BUSY:
        lines.append(f"{name} (PID {pid}) uses {load:.0%} of a CPU: the figures will suffer")
    return lines

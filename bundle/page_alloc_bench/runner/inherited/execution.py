# SPDX-License-Identifier: GPL-2.0-only
"""What is inherited and decides when and how a process runs."""

from __future__ import annotations

import ctypes
import os
import re
import struct

from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.result.inherited import Value

from .calls import call, prctl
from .calls import personality as set_personality

# include/uapi/linux/sched.h; other numbers are given as they are
_POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}
_RESET_ON_FORK = 0x40000000
# include/uapi/linux/sched/types.h, struct sched_attr with the last two, since 5.3
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")
# include/uapi/linux/ioprio.h
_IO_CLASSES = ("none", "realtime", "best-effort", "idle")
_IO_CLASS_SHIFT = 13
_IO_WHO_PROCESS = 1
# include/uapi/linux/prctl.h
_SET_TIMERSLACK, _GET_TIMERSLACK = 29, 30
_SCHED_CORE, _SCHED_CORE_GET = 62, 0
_SLACK_NS = 50_000  # init/init_task.c
_ASK = 0xFFFFFFFF


def scheduling() -> Value:
    """Return the scheduling class, with its priority if it has any: "other", "fifo:50"."""
    number = os.sched_getscheduler(0) & ~_RESET_ON_FORK
    name = _POLICIES.get(number, str(number))
    priority = os.sched_getparam(0).sched_priority
    return f"{name}:{priority}" if priority else name


def reset_scheduling() -> None:
    """Be scheduled as processes are by default. Raises OSError."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def nice() -> Value:
    """Return the nice value, -20 to 19."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def reset_nice() -> None:
    """Be as nice as by default. Raises OSError."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)


def autogroup_nice() -> Value:
    """Return the nice value of the session's group; None in a kernel without them."""
    found = re.search(r"nice (-?\d+)", procfs.read_or_none("/proc/self/autogroup") or "")
    return int(found[1]) if found else None


def utilization_clamp() -> Value:
    """Return the bounds of utilization, as "0-1024". None: not in this kernel. Raises OSError."""
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    call("sched_getattr", 0, buffer, _ATTRIBUTES.size, 0)
    *_, least, most = _ATTRIBUTES.unpack(buffer.raw)
    return f"{least}-{most}" if most else None


def core_cookie() -> Value:
    """Return whether this process is in a group of core scheduling. Raises OSError."""
    cookie = ctypes.c_ulong()
    prctl(_SCHED_CORE, _SCHED_CORE_GET, os.getpid(), 0, ctypes.byref(cookie))
    return int(bool(cookie.value))


def io_priority() -> Value:
    """Return the class and priority of requests to disks: "none", "best-effort:4", "idle"."""
    value = call("ioprio_get", _IO_WHO_PROCESS, 0)
    number, level = value >> _IO_CLASS_SHIFT, value & 7
    name = _IO_CLASSES[number] if number < len(_IO_CLASSES) else str(number)
    return f"{name}:{level}" if name in ("realtime", "best-effort") else name


def reset_io_priority() -> None:
    """Have requests to disks follow the nice value. Raises OSError."""
    call("ioprio_set", _IO_WHO_PROCESS, 0, 0)


def timer_slack_ns() -> Value:
    """Return by how much later than asked for this process may wake. Raises OSError."""
    return prctl(_GET_TIMERSLACK)


def reset_timer_slack() -> None:
    """Wake as late as by default. Raises OSError."""
    prctl(_SET_TIMERSLACK, _SLACK_NS)


def personality() -> Value:
    """Return the personality, man 2 personality, as a hexadecimal number. Raises OSError."""
    return hex(set_personality(_ASK))


def reset_personality() -> None:
    """Be a plain Linux process. Raises OSError."""
    set_personality(0)

# SPDX-License-Identifier: GPL-2.0-only
"""System calls that Python has no function for, by number where the C library has none either."""

from __future__ import annotations

import ctypes
import os
import re
from typing import Any

from page_alloc_bench.runner.kernel import procfs

# arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h
_NUMBERS = {
    "x86_64": {
        "get_mempolicy": 239,
        "ioprio_get": 252,
        "ioprio_set": 251,
        "sched_getattr": 315,
        "set_mempolicy": 238,
    },
    "aarch64": {
        "get_mempolicy": 236,
        "ioprio_get": 31,
        "ioprio_set": 30,
        "sched_getattr": 275,
        "set_mempolicy": 237,
    },
}
# What uname(2) may state instead: include/linux/compat.h, COMPAT_UTS_MACHINE.
_MACHINES = {"i686": "x86_64", "armv8l": "aarch64"}


def call(name: str, *arguments: Any) -> int:
    """Make a system call. Raises OSError, ENOSYS where its number is not known."""
    machine = os.uname().machine
    number = _NUMBERS.get(_MACHINES.get(machine, machine), {}).get(name, -1)
    return _checked(_libc().syscall(number, *arguments), name)


def prctl(option: int, *arguments: Any) -> int:
    """Call prctl(2). Raises OSError, EINVAL where the kernel does not know the option."""
    words = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in arguments]
    words += [ctypes.c_ulong(0)] * (4 - len(words))
    return _checked(_libc().prctl(option, *words), "prctl")


def personality(persona: int) -> int:
    """Set the personality and return the one before; 0xffffffff sets nothing."""
    libc = _libc()
    libc.personality.argtypes = (ctypes.c_ulong,)
    return _checked(libc.personality(persona), "personality")


def status(name: str) -> str | None:
    """Return a line of /proc/self/status by its name; None where the kernel has none."""
    table = procfs.read_or_none("/proc/self/status") or ""
    found = re.search(rf"^{name}:[ \t]*(.*)$", table, re.MULTILINE)
    return found[1].strip() if found else None


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, name: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)

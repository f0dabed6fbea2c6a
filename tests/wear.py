#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Start a command with something unusual for it to inherit, where no tool of util-linux can.

wear.py WHAT [VALUE] -- COMMAND...

Runs in a guest, with nothing but Python's standard library.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}[os.uname().machine]
MPOL = {"preferred": 1, "bind": 2, "interleave": 3}
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
# include/uapi/linux/prctl.h
SUBREAPER, THP_DISABLE, TIMERSLACK, NO_NEW_PRIVS = 36, 41, 29, 38
IO_FLUSHER, MDWE, MEMORY_MERGE = 57, 65, 67


def checked(result: int) -> None:
    """Raise OSError if a call of the C library failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def policy(value: str) -> None:
    """Set the memory policy, such as bind:1."""
    kind, _, node = value.partition(":")
    mask = ctypes.c_ulong(1 << int(node))
    checked(LIBC.syscall(SET_MEMPOLICY, MPOL[kind], ctypes.byref(mask), 64))


def prctl(option: int) -> Callable[[str], None]:
    """Return what sets an option of prctl(2) to a number."""

    def change(value: str) -> None:
        checked(LIBC.prctl(option, ctypes.c_ulong(int(value)), 0, 0, 0))

    return change


def limit(value: str) -> None:
    """Set both resource limits, such as CPU:2."""
    name, _, number = value.partition(":")
    resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (int(number), int(number)))


def seccomp(value: str) -> None:
    """Have a filter before each system call; one with the number VALUE gives EPERM."""
    # struct sock_filter: load the number, compare it, allow or refuse (linux/seccomp.h).
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (0x20, 0, 0, 0),
            (0x15, 0, 1, int(value)),
            (0x06, 0, 0, 0x00050001),
            (0x06, 0, 0, 0x7FFF0000),
        )
    )
    code = ctypes.create_string_buffer(program)
    filters = struct.pack("HxxxxxxP", 4, ctypes.addressof(code))
    checked(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0))
    checked(LIBC.syscall(SECCOMP, 1, 0, ctypes.create_string_buffer(filters)))


def ignore(value: str) -> None:
    """Ignore signals, such as SIGCHLD,SIGALRM."""
    for name in value.split(","):
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def block(value: str) -> None:
    """Hold signals back."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [getattr(signal, n) for n in value.split(",")])


def descriptors(value: str) -> None:
    """Leak so many descriptors."""
    for _ in range(int(value)):
        os.set_inheritable(os.dup(2), True)


def gone(_value: str) -> None:
    """Be in a directory that does not exist any more."""
    with tempfile.TemporaryDirectory() as path:
        os.chdir(path)


def coredump(value: str) -> None:
    """Have everything in a core dump."""
    with open("/proc/self/coredump_filter", "w", encoding="ascii") as file:
        file.write(value)


def child(_value: str) -> None:
    """Have a child that ends at some time, which the command has not started."""
    if os.fork() == 0:
        os.execlp("sleep", "sleep", "3")


KINDS: dict[str, Callable[[str], None]] = {
    "policy": policy,
    "timerslack": prctl(TIMERSLACK),
    "thp-disable": prctl(THP_DISABLE),
    "subreaper": prctl(SUBREAPER),
    "io-flusher": prctl(IO_FLUSHER),
    "mdwe": prctl(MDWE),
    "merge": prctl(MEMORY_MERGE),
    "limit": limit,
    "seccomp": seccomp,
    "ignore": ignore,
    "block": block,
    "descriptors": descriptors,
    "gone": gone,
    "coredump": coredump,
    "umask": lambda value: void(os.umask(int(value, 8))),
    "child": child,
}


def void(_value: object) -> None:
    """Return nothing."""


def main() -> None:
    """Wear it, and become the command."""
    split = sys.argv.index("--")
    what, *value = sys.argv[1:split]
    KINDS[what](value[0] if value else "")
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])


if __name__ == "__main__":
    main()

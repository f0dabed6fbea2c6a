# SPDX-License-Identifier: GPL-2.0-only
"""The name that a process shows."""

from __future__ import annotations


def set_title(name: str) -> None:
    """Show as name, of at most 15 characters, in ps, instead of the words this was started with.

    What is forked from a run would else be found by a search for that: "pkill -9 -f bench.run"
    is meant for the run, and would take along what cleans up after it. Raises OSError.
    """
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(name)
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end: man 5 proc_pid_stat
    words = name.encode("ascii")[: end - start - 1]
    # The last byte is a NUL, without which the kernel would go on into the environment:
    # fs/proc/base.c, get_mm_cmdline().
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(words.ljust(end - start, b"\0"))

# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel says about free memory and huge pages: readers of /proc and /sys, in bytes.

Every reader takes the root of the file system it reads from, so that tests can hand it a copy.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .procfs import page_size, zone_pages

# include/uapi/asm-generic/mman.h
_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4

_THP = "sys/kernel/mm/transparent_hugepage"


def free_bytes(enough: float = 0, root: str = "/") -> int:
    """Return the free memory, with what waits on the lists of free pages that each CPU keeps.

    MemFree leaves those lists out, and from 6.7 on they may hold an eighth of a zone
    (57c0419c5f0e, "mm, pcp: decrease PCP high if free pages < high watermark", and its series).
    Reading them costs more than reading MemFree, which is returned if it is ENOUGH.
    """
    meminfo = Path(root, "proc/meminfo").read_text()
    free = int(re.findall(r"^MemFree: +(\d+) kB$", meminfo, re.MULTILINE)[0]) * 1024
    if 0 < enough <= free:
        return free
    return free + zone_pages(root)[0] * page_size()


def huge_page_bytes(root: str = "/") -> int:
    """Return how much one entry of the page middle directory maps: the transparent huge page."""
    try:
        return int(Path(root, _THP, "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        # A kernel without THP. A page of 8-byte entries, each for a page: true for x86 and arm64.
        return page_size() * (page_size() // 8)


def thp_mode(root: str = "/") -> str | None:
    """Return always, madvise or never: the system's THP policy; None: a kernel without THP."""
    try:
        text = Path(root, _THP, "enabled").read_text()
    except OSError:
        return None
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen.group(1) if chosen else None


def sysctl(name: str, root: str = "/") -> str:
    """Return the value of a sysctl such as vm.overcommit_memory, or "" where there is none."""
    try:
        return Path(root, "proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return ""


def lock_resident(*, future: bool = False) -> bool:
    """Keep in memory what this process has mapped now and has touched or will touch of it.

    A process whose code is reclaimed reads it back when it next runs, page by page, and reclaims
    to do so: near the end of memory that took more CPU time than all the rest, and put the end
    off. What is mapped later is locked too if FUTURE says so: a page of such a mapping is
    unevictable from the moment it is there, and never goes to swap. Without the privilege nothing
    happens. Return whether it was done.
    """
    flags = _MCL_CURRENT | _MCL_ONFAULT | (_MCL_FUTURE if future else 0)
    return bool(ctypes.CDLL(None).mlockall(flags) == 0)


@contextmanager
def resident() -> Iterator[None]:
    """Lock this process into memory for a while, see lock_resident()."""
    lock_resident()
    try:
        yield
    finally:
        ctypes.CDLL(None).munlockall()

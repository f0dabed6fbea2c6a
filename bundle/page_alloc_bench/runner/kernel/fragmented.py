# SPDX-License-Identifier: GPL-2.0-only
"""How fragmented free memory is: by /proc/buddyinfo, and page by page by /proc/kpageflags."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence

from . import procfs

# include/uapi/linux/kernel-page-flags.h. Free pages, those of processes and files, and huge pages
# of these can be had in one piece by compaction; nothing else can.
_LRU, _BUDDY, _NOPAGE, _UNEVICTABLE, _THP = 1 << 5, 1 << 10, 1 << 20, 1 << 18, 1 << 22
_MOST_BLOCKS = 4096  # that are looked at; on a larger machine a part of all, evenly spread
_BLOCK_BYTES = "/sys/devices/system/memory/block_size_bytes"


def free_blocks(buddyinfo: Mapping[str, Sequence[int]], order: int) -> int:
    """Return how many blocks of an order are free, those in larger ones too."""
    return sum(
        count << (of - order)
        for counts in buddyinfo.values()
        for of, count in enumerate(counts)
        if of >= order
    )


def unusable_permille(buddyinfo: Mapping[str, Sequence[int]], order: int) -> int:
    """Return how much of the free memory is in blocks that are too small for an order.

    As mm/vmstat.c, unusable_free_index(), but of all zones together.
    """
    free = free_blocks(buddyinfo, 0)
    return 0 if not free else (free - (free_blocks(buddyinfo, order) << order)) * 1000 // free


def could_be_huge_permille(order: int) -> int | None:
    """Return of how much of the memory compaction could make blocks of an order; None: unknown.

    Pages on the lists of the CPUs cannot be told from those that the kernel uses, and count as
    these.
    """
    try:
        descriptor = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        seen = [each for block in _blocks(order) if (each := _movable(descriptor, block, order)) is
                not None]  # fmt: skip
    finally:
        os.close(descriptor)
    return sum(seen) * 1000 // len(seen) if seen else None


def _blocks(order: int) -> Sequence[int]:
    """Return the numbers of the blocks to look at, from the first to the last that there may be."""
    text = procfs.read_or_none(_BLOCK_BYTES)
    section = int(text, 16) if text else 1 << 27
    try:
        names = os.listdir("/sys/devices/system/memory")
    except OSError:
        names = []
    numbers = [int(name[6:]) for name in names if name[:6] == "memory" and name[6:].isdigit()]
    size = procfs.page_size() << order
    end = (max(numbers) + 1) * section if numbers else 2 * procfs.meminfo().get("MemTotal", 0)
    return range(0, end // size, max(1, end // size // _MOST_BLOCKS))


def _movable(descriptor: int, block: int, order: int) -> bool | None:
    """Return whether all pages of a block are free or can be moved; None: it is not memory."""
    data = os.pread(descriptor, 8 << order, block * (8 << order))
    flags = set(array("Q", data[: len(data) // 8 * 8]))
    if len(data) < 8 << order or any(each & _NOPAGE for each in flags):
        return None
    return all(each & (_BUDDY | _LRU | _THP) and not each & _UNEVICTABLE for each in flags)

# SPDX-License-Identifier: GPL-2.0-only
"""The processes of the workload: those that keep pages, and those that ask for huge ones."""

from __future__ import annotations

import os
import signal
import time
from array import array
from collections import Counter

from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.measuring.user import huge, populated, slate

# Documentation/admin-guide/mm/pagemap.rst
_FRAME, _PRESENT = (1 << 55) - 1, 1 << 63
_POLL_S = 0.01
# Times in a row that there was no huge page. After failures the kernel compacts only at each 64th
# request, whoever makes it: COMPACT_MAX_DEFER_SHIFT in mm/compaction.c.
_GIVE_UP = 2 << 6


def keep(board: slate.Slate, worker: int, cpu: int, size: int, order: int) -> None:
    """Keep one page of each block of memory that was got, of an order; give the others back.

    Which pages are in one block is read from the page table, so that it does not matter in which
    order the kernel gave them. The processes take turns: at the same time they would get parts of
    the same blocks, and keep fewer of them from being whole. None gives back before all have got.
    """
    page = procfs.page_size()
    while worker and not board.each(slate.PAGES)[worker - 1]:
        time.sleep(_POLL_S)
    own, start = _get(cpu, size, order)
    kept = _of_fullest(_frames(start, size, page), order, size // (page << order))
    board.words[board.place(worker, slate.PAGES)] = len(kept)
    while not all(board.each(slate.PAGES)):
        time.sleep(_POLL_S)
    begin = 0
    for number in [*kept, size // page]:
        if number > begin:
            own.madvise(start + begin * page, (number - begin) * page, huge.MADV_DONTNEED)
        begin = number + 1
    board.words[board.place(worker, slate.READY)] = 1
    while True:
        signal.pause()


def pass_through(board: slate.Slate, worker: int, cpu: int, size: int, order: int) -> None:
    """Get so many bytes in base pages, and give them back."""
    own, start = _get(cpu, size, order)
    own.madvise(start, size, huge.MADV_DONTNEED)
    board.words[board.place(worker, slate.READY)] = 1
    while True:
        signal.pause()


def _get(cpu: int, size: int, order: int) -> tuple[populated.Memory, int]:
    """Return memory in base pages, had on a CPU, and its first address."""
    os.sched_setaffinity(0, {cpu})
    block = procfs.page_size() << order
    own = populated.Memory(size, block, huge=False)
    start = own.map()
    for address in range(start, start + size, block):
        own.populate(address, block)
    return own, start


def ask(board: slate.Slate, worker: int, cpu: int, *, size: int, order: int, seed: int) -> None:
    """Ask for huge pages until there are no more, or for so many bytes; then keep them."""
    os.sched_setaffinity(0, {cpu})
    block = procfs.page_size() << order
    asking = huge.Asking(board, worker, seed, size, order)
    have = failed = 0
    for address in range(asking.start, asking.start + size, block):
        if asking.one(address):
            have, failed = have + 1, 0
            board.words[board.place(worker, slate.PAGES)] = have
            continue
        failed += 1
        if failed == _GIVE_UP:
            break
    board.words[board.place(worker, slate.READY)] = 1
    while True:
        signal.pause()


def _frames(start: int, size: int, page: int) -> array[int]:
    """Return the page table's entries of a mapping."""
    entries = array("Q")
    with open("/proc/self/pagemap", "rb") as table:
        table.seek(start // page * 8)
        entries.frombytes(table.read(size // page * 8))
    return entries


def _of_fullest(entries: array[int], order: int, most: int) -> list[int]:
    """Return the numbers of pages, each the first to be seen in a block of an order.

    Of so many blocks at most, those of which most pages are here: they can only be whole once the
    page that is kept is gone.
    """
    first: dict[int, int] = {}
    here: Counter[int] = Counter()
    for number, entry in enumerate(entries):
        if entry & _PRESENT:
            block = (entry & _FRAME) >> order
            first.setdefault(block, number)
            here[block] += 1
    return sorted(first[block] for block, _ in here.most_common(most))

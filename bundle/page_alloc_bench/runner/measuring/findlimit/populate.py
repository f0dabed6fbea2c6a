# SPDX-License-Identifier: GPL-2.0-only
"""The child of findlimit: fault in memory from every CPU until the kernel has none left.

One thread for each CPU claims *blocks* of a large mapping, one after the other, and populates its
block *piece* by piece in the kernel. A block is at least a huge page, so that no two threads fight
for the same one; a piece may be less, so that what is counted is close to what was there when the
OOM killer came. What the threads have is counted in a page shared with the parent: the Board.

The child never returns and never succeeds: it ends by a kill, or with one line that says why it
could not go on. Only one whose plan ends somewhere (probe.py) ends by itself when it is there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from page_alloc_bench.runner.kernel import mapping
from page_alloc_bench.runner.kernel.memory import lock_resident
from page_alloc_bench.runner.kernel.procfs import page_size, read
from page_alloc_bench.runner.lifetime.alone import stand_alone
from page_alloc_bench.runner.result import units

from .board import Board

NAME = "pab-findlimit"
MAPS_NO_MORE = "the kernel maps no"  # how the reason begins when mmap gives ENOMEM

# include/uapi/linux/prctl.h
_PR_SET_THP_DISABLE = 41

_MIN_PIECE = 256 << 10
_MAX_PIECE = 32 << 20
_STACK_BYTES = 256 << 10  # glibc's 8 MiB for each of 512 threads would count against overcommit
_RETRY_S = 0.002
_ERRNO_EHWPOISON = 133


class CannotGoOnError(Exception):
    """The reason why the child ends by itself; a line for the user."""


@dataclass(frozen=True)
class Plan:
    """What the child is to do. block_bytes and piece_bytes: see the module; both divide evenly.

    thp: inherit, always or never. mapping_bytes: a multiple of block_bytes. no_swap: lock what is
    populated. ends: whether the child ends when it has all of one mapping, rather than map more.
    marks: whether each page gets a byte that is not zero. Since 6.12 (b1f202060afe) the kernel
    frees pages of zeros when it splits a huge page, as it does to swap it out.
    """

    cpus: tuple[int, ...]
    mapping_bytes: int
    block_bytes: int
    piece_bytes: int
    huge_bytes: int
    thp: str = "inherit"
    no_swap: bool = False
    ends: bool = False
    marks: bool = False


def plan(
    cpus: tuple[int, ...],
    memory_bytes: int,
    mapping_bytes: int,
    huge_bytes: int,
    thp: str,
    *,
    no_swap: bool = False,
    marks: bool = False,
) -> Plan:
    """Return a plan whose pieces on all CPUs together are about 0.1 % of the memory."""
    share = max(1, memory_bytes // 1000 // len(cpus))
    power = 1 << (share.bit_length() - 1)
    piece = max(min(power, _MAX_PIECE), _MIN_PIECE, page_size())
    block = max(piece, huge_bytes)
    blocks = max(1, -(-mapping_bytes // block))
    return Plan(cpus, blocks * block, block, piece, huge_bytes, thp, no_swap, marks=marks)


def run(work: Plan, board: Board, parent: int) -> NoReturn:
    """Be the child: call it right after a fork with all signals blocked. PARENT: the parent's pid.

    Whatever happens, the process ends in here.
    """
    try:
        stand_alone(parent, NAME)
        Populator(work, board).run()
    except BaseException as error:
        _give_up(board, error)
    finally:
        os._exit(1)


def _give_up(board: Board, error: BaseException) -> NoReturn:
    """End the process, all of its threads included, and say why."""
    if isinstance(error, CannotGoOnError):
        board.fail(str(error))
    else:
        board.fail(f"{type(error).__name__}: {error}")
    os._exit(1)


class Ground:
    """Hands out blocks of memory that is mapped and not yet touched; maps more when it is used up.

    A mapping that the kernel refuses is tried again at half the size, down to one block.
    """

    def __init__(self, libc: mapping.Libc, work: Plan) -> None:
        self._libc = libc
        self._plan = work
        self._size = work.mapping_bytes
        self._mapped = 0
        self._next = self._end = 0
        self._lock = threading.Lock()

    def claim(self) -> int:
        """Return the address of a block that is the caller's alone; 0 where the plan ends."""
        with self._lock:
            if self._next == self._end:
                if self._mapped and self._plan.ends:
                    return 0
                self._map()
            address = self._next
            self._next += self._plan.block_bytes
            return address

    def _map(self) -> None:
        block, huge = self._plan.block_bytes, self._plan.huge_bytes
        flags = mapping.MAP_PRIVATE | mapping.MAP_ANONYMOUS | mapping.MAP_NORESERVE
        while True:
            address = self._libc.mmap(0, self._size + huge, mapping.PROT_READ_WRITE, flags, -1, 0)
            if address != mapping.MAP_FAILED:
                break
            if ctypes.get_errno() != errno.ENOMEM or self._size <= block:
                raise CannotGoOnError(self._refused())
            self._size = max(block, self._size // 2 // block * block)
        self._next = -(-address // huge) * huge
        self._end = self._next + self._size
        self._mapped += self._size
        if self._plan.thp == "always":
            self._libc.madvise(self._next, self._size, mapping.MADV_HUGEPAGE)

    def _refused(self) -> str:
        why = os.strerror(ctypes.get_errno())
        have = f"more after {units.size(self._mapped)}" if self._mapped else "at all"
        return f"{MAPS_NO_MORE} {units.whole_kib(self._size)} {have}: {why}"


class Populator:
    """The threads of the child."""

    def __init__(self, work: Plan, board: Board) -> None:
        self._plan = work
        self._board = board
        self._libc = mapping.Libc()
        if work.thp == "never":
            self._libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
        self._ground = Ground(self._libc, work)
        self._piece = work.piece_bytes
        self._populate = self._choose()
        self._ready = threading.Barrier(len(work.cpus) + 1)
        self._go = threading.Barrier(len(work.cpus) + 1)

    def run(self) -> None:
        """Start the threads, let them go at the same moment, and wait for the end."""
        threading.stack_size(_STACK_BYTES)
        threads = [
            threading.Thread(target=self._guarded, args=(number, cpu), daemon=True)
            for number, cpu in enumerate(self._plan.cpus)
        ]
        for thread in threads:
            thread.start()
        self._ready.wait()
        if not lock_resident(future=self._plan.no_swap) and self._plan.no_swap:
            raise CannotGoOnError("its memory cannot be kept out of swap: mlockall is refused")
        self._board.start(_own_bytes())
        self._go.wait()
        for thread in threads:
            thread.join()
        self._board.finish()

    def _guarded(self, number: int, cpu: int) -> None:
        try:
            self._prepare(number, cpu)
            self.work_on(number)
        except BaseException as error:
            _give_up(self._board, error)

    def _prepare(self, number: int, cpu: int) -> None:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise CannotGoOnError(
                    f"no thread may run on CPU {cpu}: {error.strerror}"
                ) from error
            # Taken away since the run began. Threads that are there already go on elsewhere too.
            self._board.displace(number)
        self._board.enlist(number)
        self._libc.madvise(
            0, 0, mapping.MADV_NORMAL
        )  # ctypes makes the thread's errno on its first call
        self._ready.wait()
        self._go.wait()

    def work_on(self, number: int) -> None:
        """Populate block after block. Nothing in the loops allocates memory."""
        claim, populate = self._ground.claim, self._populate
        block, piece = self._plan.block_bytes, self._piece
        words, index = self._board.counter(number)
        marks = b"\1" * (piece // page_size()) if self._plan.marks else None
        have = 0
        while start := claim():
            for address in range(start, start + block, piece):
                if populate(address, piece, mapping.MADV_POPULATE_WRITE):
                    self._insist(address, words, index, have)
                if marks is not None:
                    self._mark(address, marks)
                have += piece
                words[index] = have

    def _insist(self, address: int, words: memoryview, index: int, have: int) -> None:
        """Populate a piece whose populating failed, and count meanwhile what of it is there.

        MADV_POPULATE_WRITE gives ENOMEM when a fault found no memory and the OOM killer did not
        kill the caller (mm/gup.c, faultin_page(): VM_FAULT_OOM), EINTR and EAGAIN when disturbed.
        """
        piece = self._piece
        while True:
            error = ctypes.get_errno()
            if error == errno.ENOMEM:
                words[index] = have + self._present(address).count(1) * page_size()
                time.sleep(_RETRY_S)
            elif error not in (errno.EINTR, errno.EAGAIN):
                raise CannotGoOnError(_populate_error(error))
            if not self._populate(address, piece, mapping.MADV_POPULATE_WRITE):
                return

    def _mark(self, address: int, marks: bytes) -> None:
        """Write the first byte of each page of a piece."""
        piece = (ctypes.c_ubyte * self._piece).from_address(address)
        memoryview(piece).cast("B")[:: page_size()] = marks

    def _present(self, address: int) -> bytes:
        """Return for each page of a piece whether it is in memory: 1 or 0."""
        vector = ctypes.create_string_buffer(self._piece // page_size())
        self._libc.mincore(address, self._piece, vector)
        return bytes(byte & 1 for byte in vector.raw)

    def _choose(self) -> Callable[[int, int, int], int]:
        """Return the function that populates a piece: (address, bytes, advice) -> 0 or -1."""
        page = self._libc.mmap(
            0,
            page_size(),
            mapping.PROT_READ_WRITE,
            mapping.MAP_PRIVATE | mapping.MAP_ANONYMOUS,
            -1,
            0,
        )
        if page == mapping.MAP_FAILED:
            raise CannotGoOnError(f"{MAPS_NO_MORE} page at all: {os.strerror(ctypes.get_errno())}")
        if self._libc.madvise(page, page_size(), mapping.MADV_POPULATE_WRITE) == 0:
            populate: Callable[[int, int, int], int] = self._libc.madvise
            return populate
        if ctypes.get_errno() != errno.EINVAL:
            raise CannotGoOnError(_populate_error(ctypes.get_errno()))
        if self._plan.thp == "always":
            return self._touch
        # Mapping less than a huge page anew would split, and give back in part, the one just got.
        self._piece = self._plan.block_bytes
        return self._map_populated

    def _map_populated(self, address: int, size: int, _advice: int) -> int:
        """Populate a piece before 5.14: remap it with MAP_POPULATE, and see whether it is there.

        The flags are those of the mapping around it, so that the kernel merges the two again.
        """
        flags = (
            mapping.MAP_PRIVATE
            | mapping.MAP_ANONYMOUS
            | mapping.MAP_NORESERVE
            | mapping.MAP_FIXED
            | mapping.MAP_POPULATE
        )
        if (
            self._libc.mmap(address, size, mapping.PROT_READ_WRITE, flags, -1, 0)
            == mapping.MAP_FAILED
        ):
            return -1
        # mm_populate() ignores every failure, man 2 mmap.
        return 0 if all(self._present(address)) else self._touch(address, size)

    def _touch(self, address: int, _size: int, _advice: int = 0) -> int:
        """Fault in what a piece lacks, page by page; the first page may bring a huge one along.

        The way to huge pages before 5.14: a new mapping would not be advised of them.
        """
        page = page_size()
        self._libc.memset(address, 0, 1)
        for number, present in enumerate(self._present(address)):
            if not present:
                self._libc.memset(address + number * page, 0, 1)
        return 0


def _populate_error(error: int) -> str:
    if error == _ERRNO_EHWPOISON:
        return "a page of this machine's memory is broken (EHWPOISON): see the kernel's log"
    return f"the kernel cannot fault memory in: {os.strerror(error)}"


def _own_bytes() -> int:
    """Return this process's resident set without file pages (fs/proc/task_mmu.c, task_mem())."""
    table = read("/proc/self/status")
    sizes = re.findall(r"^Rss(?:Anon|Shmem):\s*(\d+) kB$", table, re.MULTILINE)
    return sum(map(int, sizes)) * 1024

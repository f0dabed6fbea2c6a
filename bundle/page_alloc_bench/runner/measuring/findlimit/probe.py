# SPDX-License-Identifier: GPL-2.0-only
"""How fast can memory be filled here? A look of two seconds at most, before a run.

findlimit's own child fills a small part of the memory, as it will fill all of it, and gives it back
by its end; a few times over, for the first may get pages that nobody has touched since the boot,
which a hypervisor may have yet to find.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import cgroup, memory, pidfd, procfs

from . import populate
from .board import Board

_SHARE = 0.03  # of the memory that is available: far from its end
LIFE_S = 0.5  # of filling; on a large machine that is not the whole share
_ALL_S = 1.8
_POLL_S = 0.005
_LIVES = 12
_SMALL_BYTES = 256 << 10


@dataclass(frozen=True)
class Speed:
    """What was seen. first, later: seconds for each byte, in the first life and in the others.

    probe_bytes: what a life took. duration_s: of the whole look. lives: how many there were.
    """

    first: float
    later: float
    probe_bytes: int
    duration_s: float
    lives: int


def available_bytes() -> int:
    """Return what a process can get here, without swap: of the machine, or of our cgroup."""
    available = procfs.meminfo()["MemAvailable"]
    own = cgroup.own()
    limit = own.limit_bytes() if own else None
    if own is None or limit is None:
        return available
    return max(0, min(available, limit - (own.usage_bytes() or 0)))


def measure(cpus: Sequence[int], thp: str, *, no_swap: bool) -> Speed:
    """Fill a share of the memory again and again. Raises RunnerError if it cannot be filled.

    The calling process must be single-threaded.
    """
    start = time.monotonic()
    work = _plan(tuple(cpus), thp, no_swap=no_swap)
    lives: list[tuple[int, float]] = []
    longest = 0.0
    while len(lives) < _LIVES:
        began = time.monotonic()
        if lives and began - start + longest > _ALL_S:
            break
        lives.append(_live(work, start + _ALL_S))
        longest = max(longest, time.monotonic() - began)
    size, seconds = lives[0]
    others = lives[1:] or lives
    return Speed(
        first=seconds / size,
        later=sum(s for _, s in others) / sum(b for b, _ in others),
        probe_bytes=size,
        duration_s=time.monotonic() - start,
        lives=len(lives),
    )


def _plan(cpus: tuple[int, ...], thp: str, *, no_swap: bool) -> populate.Plan:
    """Plan as findlimit does, but for a mapping of a share of the memory, the same a thread."""
    sizes, share = procfs.meminfo(), int(_SHARE * available_bytes())
    huge = memory.huge_page_bytes()
    work = populate.plan(
        cpus,
        memory_bytes=sizes["MemTotal"],
        mapping_bytes=share,
        huge_bytes=huge if huge <= share else _SMALL_BYTES,
        thp=thp,
        no_swap=no_swap,
    )
    turn = work.block_bytes * len(cpus)
    size = share // turn * turn or max(share // work.block_bytes, 1) * work.block_bytes
    return replace(work, mapping_bytes=size, ends=True)


def _live(work: populate.Plan, deadline: float) -> tuple[int, float]:
    """Let a child fill the mapping; return the bytes it got, and the time that this took.

    deadline: when it ends at the latest, of time.monotonic(). Its end is not timed: most of that is
    the end of a Python, and takes as long however little memory goes with it.
    """
    board = Board(len(work.cpus))
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        populate.run(work, board, parent)
    descriptor = -1
    try:
        descriptor = pidfd.open_pidfd(pid)
        while not pidfd.ended(descriptor, _POLL_S):
            now, began = time.monotonic(), board.started_ns / 1e9
            if now > deadline or (board.populated_bytes and now - began > LIFE_S):
                break
        size, over_ns = board.populated_bytes, board.ended_ns or time.monotonic_ns()
    finally:
        os.kill(pid, signal.SIGKILL)  # it is ours until it is reaped
        os.wait4(pid, 0)
        if descriptor >= 0:
            os.close(descriptor)
    if board.reason or not size:
        raise RunnerError(board.reason or "no memory could be filled in two seconds")
    return size, (over_ns - board.started_ns) / 1e9

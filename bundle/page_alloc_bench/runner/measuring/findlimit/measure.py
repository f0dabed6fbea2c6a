# SPDX-License-Identifier: GPL-2.0-only
"""findlimit: how much memory can user space get, now, on this machine?

A child process (populate.py) faults memory in until the OOM killer ends it. This side starts the
child, sleeps until it is dead, makes sure that the kernel killed it for want of memory, holds what
the child counted against what the kernel counted, and waits until the memory is back.

The calling process must be single-threaded. Signals that arrive meanwhile are let in only at the
two places that wait; so whatever their handlers raise, the child is killed and reaped before it
leaves measure().
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

from page_alloc_bench.runner.errors import FindlimitError
from page_alloc_bench.runner.kernel import cgroup, memory, memory_breakdown, oom_log, procfs
from page_alloc_bench.runner.kernel import log as kernel_log
from page_alloc_bench.runner.measuring import agreement

from . import child, populate, witness
from .board import Board
from .child import Progress

_ABSENT_S = 5.0  # less is what a machine out of memory does to everybody
BACK_TIMEOUT_S = 30.0
_BACK_INTERVAL_S = 0.05


@dataclass(frozen=True)
class Settings:
    """How to look for the limit.

    cpus: each gets a thread that faults memory in. mapping_bytes: size of each mapping; None: as
    large as the machine's memory and swap. thp: inherit, always or never. no_swap: keep the child's
    memory out of swap. stall_s: how long neither the child nor the OOM killer may make progress,
    0 for ever. moving_bytes: what others take and give back all the time.
    """

    cpus: tuple[int, ...]
    mapping_bytes: int | None = None
    thp: str = "inherit"
    no_swap: bool = False
    stall_s: float = 0.0
    moving_bytes: int = 0


def settings(options: argparse.Namespace, cpus: Sequence[int], moving_bytes: int = 0) -> Settings:
    """Return what the options of a run ask for."""
    gib = options.findlimit_mmap_size_gib
    return Settings(
        cpus=tuple(cpus),
        mapping_bytes=gib << 30 if gib else None,
        thp=options.thp,
        no_swap=options.no_swap,
        stall_s=options.stall_s,
        moving_bytes=moving_bytes,
    )


@dataclass(frozen=True)
class Limit:
    """What the child got before a confirmed OOM kill.

    available_bytes: counted by the child, in whole completed pieces (see populate.py).
    rss_bytes: wait4's maximum resident set without what the child had before it began, and without
    the pages of files, such as its code, that the kill line states.
    oom_rss_bytes: the resident set that the kernel's log states in its kill line, all of it.
    duration_s: from the first fault to the death, all memory freed. release_s: from then until the
    memory was seen to be back. constraint: CONSTRAINT_NONE, _MEMCG, …; "" if the log has no report.
    oom_free_bytes, oom_free_pcp_bytes: what the machine had free at the kill, in its zones and on
    the lists that each CPU keeps, by the log's report; None if it has none.
    mem_available_bytes: MemAvailable just before. before, at_kill: where the machine's memory was
    just before the child began, and at its kill; None if the log has no report of that.
    child_page_tables_bytes: what it took to map what the child had; None if the log does not say.
    swapped_bytes: what of available_bytes was in swap, 0 where the log does not say.
    swap_used_bytes: what all processes had there. swapped_before_bytes: and just before.
    warnings: what casts doubt on the figures, a line each.
    """

    available_bytes: int
    rss_bytes: int
    oom_rss_bytes: int | None
    duration_s: float
    release_s: float
    constraint: str
    oom_free_bytes: int | None
    oom_free_pcp_bytes: int | None
    mem_available_bytes: int
    before: memory_breakdown.Ledger
    at_kill: memory_breakdown.Ledger | None
    child_page_tables_bytes: int | None
    warnings: tuple[str, ...]
    swapped_bytes: int = 0
    swap_used_bytes: int = 0
    swapped_before_bytes: int = 0


def measure(settings: Settings, *, on_progress: Progress | None = None) -> Limit:
    """Drive the machine, or the memory cgroup this process is in, out of memory once.

    on_progress is called about once a second with the bytes populated so far. Raises
    FindlimitError, stall.StalledError, and whatever signal handlers and on_progress raise.
    """
    own = cgroup.own()
    work = _plan(settings, own)
    board = Board(len(work.cpus))
    try:
        log = oom_log.OomLog()
    except OSError as error:
        raise FindlimitError(
            f"the kernel's log, {kernel_log.KMSG}, cannot be read ({error.strerror}): no OOM kill "
            f"could be confirmed. {kernel_log.advice(error)}"
        ) from error
    with log, child.HeldSignals() as signals:
        charged = (own.usage_bytes() if own else None) or 0
        sizes, before = procfs.meminfo(), memory_breakdown.now()
        with memory.resident():
            watch = child.Watch(board, log, settings.stall_s, on_progress)
            end = child.live(work, board, signals, watch)
        kill = witness.confirm(end, board, log)
        counted = board.populated_bytes
        # Where next to nothing is to be had, reclaim takes of what the child had before it began.
        rss = max(0, end.max_rss_bytes - board.baseline_bytes - kill.sizes.get("file-rss", 0))
        swapped = witness.swapped_bytes(kill, no_swap=settings.no_swap)
        warnings = [
            *_displaced_warnings(work, board),
            *witness.witness_warnings(work, board, rss, kill, swapped),
            *_absence_warnings(watch.absent_s),
        ]
        with signals.window():
            release_s = _await_release(
                own, charged, min(counted, rss), kill, end.died_ns, moving=settings.moving_bytes
            )
        warnings += _release_warnings(release_s)
        warnings += witness.log_warnings(log, kill)
    return Limit(
        available_bytes=counted,
        rss_bytes=rss,
        oom_rss_bytes=kill.rss_bytes,
        duration_s=(end.died_ns - board.started_ns) / 1e9,
        release_s=release_s,
        constraint=kill.constraint,
        oom_free_bytes=kill.free_bytes,
        oom_free_pcp_bytes=kill.free_pcp_bytes,
        mem_available_bytes=sizes["MemAvailable"],
        swapped_before_bytes=sizes.get("SwapTotal", 0) - sizes.get("SwapFree", 0),
        before=before,
        at_kill=memory_breakdown.at_kill(kill.report),
        child_page_tables_bytes=kill.sizes.get("pgtables"),
        warnings=tuple(warnings),
        swapped_bytes=kill.swapped_bytes or 0,
        swap_used_bytes=kill.swap_used_bytes or swapped[1],
    )


# Before


def _plan(settings: Settings, own: cgroup.MemoryCgroup | None) -> populate.Plan:
    """Adapt the child's steps to the memory there is to be had."""
    sizes = procfs.meminfo()
    swap = 0 if settings.no_swap else sizes.get("SwapTotal", 0)
    machine = sizes["MemTotal"] + swap
    limit = own.limit_bytes() if own else None
    return populate.plan(
        settings.cpus,
        memory_bytes=min(machine, limit or machine),
        mapping_bytes=settings.mapping_bytes or machine,
        huge_bytes=memory.huge_page_bytes(),
        thp=settings.thp,
        no_swap=settings.no_swap,
        marks=swap > 0,
    )


# What casts doubt on it


def _displaced_warnings(work: populate.Plan, board: Board) -> list[str]:
    return [
        f"no thread could run on CPU {work.cpus[thread]} (offline, or not in the cpuset any "
        "more): findlimit's ran on others"
        for thread in board.displaced
    ]


def _absence_warnings(absent_s: float) -> list[str]:
    if absent_s <= _ABSENT_S:
        return []
    return [
        f"this process did not run for {absent_s:.0f} s, stopped or starved: the child's death "
        "was seen late, and the duration includes that"
    ]


def _release_warnings(release_s: float) -> list[str]:
    if release_s < BACK_TIMEOUT_S:
        return []
    return [f"the memory was not all back after {BACK_TIMEOUT_S:g} s"]


# After


def _await_release(
    own: cgroup.MemoryCgroup | None,
    charged: int,
    taken: int,
    kill: oom_log.Kill,
    died_ns: int,
    *,
    moving: int,
) -> float:
    """Wait until TAKEN bytes are free again and stay so; return how long after the death that was.

    charged: what OWN held before. moving: what others may have of it, or not, at each look.
    BACK_TIMEOUT_S: they were not back in that time.
    """
    inside = own if own and kill.constraint == "CONSTRAINT_MEMCG" else None
    deadline_ns = died_ns + int(BACK_TIMEOUT_S * 1e9)
    least, step = agreement.BACK_SHARE * taken - moving, max(taken // 1000, 1 << 20, moving)
    last, since_ns = -1, died_ns
    while True:
        at_ns = time.monotonic_ns()
        # Next to nothing was free when the killer came, so all that the child had must be.
        free = memory.free_bytes(least) if inside is None else 0
        back = charged + taken - (inside.usage_bytes() or 0) if inside else free
        if back >= least and abs(back - last) <= step:
            return (since_ns - died_ns) / 1e9
        if at_ns > deadline_ns:
            return BACK_TIMEOUT_S
        last, since_ns = back, at_ns
        time.sleep(_BACK_INTERVAL_S)

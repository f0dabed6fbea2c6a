# SPDX-License-Identifier: GPL-2.0-only
"""Why findlimit's child died by the kernel's account, and whether what it counted is true."""

from __future__ import annotations

import dataclasses
import os
import signal

from page_alloc_bench.runner.errors import FindlimitError
from page_alloc_bench.runner.kernel import memory, oom_log, procfs
from page_alloc_bench.runner.measuring import agreement
from page_alloc_bench.runner.result import units

from . import populate
from .board import Board
from .child import End

_LOG_WAIT_S = 5.0
_PROC_PID_INIT_INO = 0xEFFFFFFC  # include/linux/proc_ns.h: the first PID namespace


def confirm(end: End, board: Board, log: oom_log.OomLog) -> oom_log.Kill:
    """Return the kernel's record of killing the child for want of memory. Raises FindlimitError."""
    if not os.WIFSIGNALED(end.status):
        reason = board.reason or f"exit status {os.WEXITSTATUS(end.status)}"
        raise FindlimitError(f"findlimit's child gave up: {reason}{_advice(reason)}")
    name = signal.Signals(os.WTERMSIG(end.status)).name
    died = f"findlimit's child was killed by {name}"
    if os.WTERMSIG(end.status) != signal.SIGKILL:
        raise FindlimitError(f"{died}, not by the OOM killer; nothing was counted. Run again")
    kill = log.await_kill({end.pid} | board.thread_ids, _LOG_WAIT_S)
    if kill:
        return kill
    raise FindlimitError(f"{died}, but {_unconfirmed(log)}")


def _unconfirmed(log: oom_log.OomLog) -> str:
    if os.stat("/proc/self/ns/pid").st_ino != _PROC_PID_INIT_INO:
        return (
            "the kernel's log names processes by numbers that this PID namespace does not know. "
            "Run outside of any container"
        )
    if log.lost:
        return (
            "the kernel's log was overwritten before it could be read: whether the OOM killer did "
            "it is unknown. Enlarge the log with log_buf_len=16M on the kernel's command line"
        )
    return (
        "the kernel's log has no OOM kill of it: somebody else sent the signal. Stop what kills "
        "processes when memory is short (systemd-oomd, earlyoom, nohang) and run again"
    )


def _advice(reason: str) -> str:
    """Return what to do about a child that could not map memory, with the numbers that say why."""
    if not reason.startswith(populate.MAPS_NO_MORE):
        return ""
    sizes = procfs.meminfo()
    if memory.sysctl("vm.overcommit_memory") == "2":
        limit, used = (
            units.whole_mib(sizes.get(name, 0)) for name in ("CommitLimit", "Committed_AS")
        )
        return (
            f". vm.overcommit_memory is 2, CommitLimit {limit}, of which others have {used}: "
            "sysctl vm.overcommit_memory=0"
        )
    return (
        f". Look at ulimit -v, ulimit -d and vm.max_map_count ({memory.sysctl('vm.max_map_count')})"
    )


def swapped_bytes(kill: oom_log.Kill, *, no_swap: bool) -> tuple[int, int]:
    """Return how much of the child was in swap, at least and at most."""
    if no_swap:
        return 0, 0
    if kill.swapped_bytes is not None:
        return kill.swapped_bytes, kill.swapped_bytes
    used = kill.swap_used_bytes
    return 0, procfs.meminfo().get("SwapTotal", 0) if used is None else used


def witness_warnings(
    work: populate.Plan,
    board: Board,
    rss: int,
    kill: oom_log.Kill,
    swapped: tuple[int, int],
) -> list[str]:
    """Hold the child's count against the kernel's two: wait4's maximum and the kill line.

    Neither has what was in swap. The maximum may be of an earlier moment, with less in swap.
    """
    counted, (least, most) = board.populated_bytes, swapped
    scene = dataclasses.replace(
        agreement.scene(len(work.cpus)), huge_bytes=work.huge_bytes, piece_bytes=work.piece_bytes
    )

    def agree(low: int, high: int) -> bool:
        """Return whether a figure from low to high can be true beside the child's."""
        nearest = min(max(counted, low), high)
        return agreement.agree("resident set", counted, nearest, scene)

    warnings = []
    confirmed = False
    if kill.rss_bytes is not None:
        said = kill.rss_bytes - board.baseline_bytes - kill.sizes.get("file-rss", 0)
        confirmed = agree(said + least, said + most)
        if not confirmed:
            warnings.append(_disagree("the kernel's log", said, counted, swapped))
    # mm/oom_kill.c, __oom_reap_task_mm() frees without update_hiwater_rss(): where the reaper is
    # faster than the exit, as on a busy machine, wait4 tells less than the log, which is right.
    reaped = confirmed and rss + most < counted
    if not reaped and not agree(rss, rss + most):
        warnings.append(_disagree("wait4", rss, counted, swapped))
    return warnings


def _disagree(witness: str, theirs: int, counted: int, swapped: tuple[int, int]) -> str:
    least, most = swapped
    why = ""
    if most:
        why = f", and {most} in swap" if least == most else f", and up to {most} in swap"
    return f"the child counted {counted} bytes, {witness} says {theirs}{why}"


def log_warnings(log: oom_log.OomLog, kill: oom_log.Kill) -> list[str]:
    """Return whom else the OOM killer took, and whether more may have gone unseen."""
    others = [
        f"the OOM killer also took {other.pid} ({other.name}): {other.message}"
        for other in log.kills()
        if other is not kill
    ]
    lost = ["the kernel's log overflowed: other OOM kills may have gone unseen"] if log.lost else []
    return others + lost

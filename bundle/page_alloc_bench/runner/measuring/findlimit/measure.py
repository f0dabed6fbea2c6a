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

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import cgroup, memory, memory_breakdown, oom_log, pidfd, procfs
from page_alloc_bench.runner.kernel import log as kernel_log
from page_alloc_bench.runner.lifetime import reap
from page_alloc_bench.runner.lifetime.signals import STOP_SIGNALS
from page_alloc_bench.runner.measuring import agreement, stall

from . import populate

_PROGRESS_S = 1.0
_ABSENT_S = 5.0  # less is what a machine out of memory does to everybody
_LOG_WAIT_S = 5.0
_KILL_S = 30.0
_KILL_BYTES = 64 << 20  # a process that gives back less in that time does not end
_BACK_TIMEOUT_S = 30.0
_BACK_INTERVAL_S = 0.05
_PROC_PID_INIT_INO = 0xEFFFFFFC  # include/linux/proc_ns.h: the first PID namespace

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Settings:
    """How to look for the limit.

    cpus: each gets a thread that faults memory in. mapping_bytes: size of each mapping; None: as
    large as the machine's memory and swap. thp: inherit, always or never. no_swap: keep the child's
    memory out of swap. stall_s: how long neither the child nor the OOM killer may make progress,
    0 for ever.
    """

    cpus: tuple[int, ...]
    mapping_bytes: int | None = None
    thp: str = "inherit"
    no_swap: bool = False
    stall_s: float = 0.0


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
    swap_used_bytes: what all processes had there.
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


class FindlimitError(RunnerError):
    """The child did not begin, or ended by anything but a confirmed OOM kill: nothing counts."""


def measure(settings: Settings, *, on_progress: Progress | None = None) -> Limit:
    """Drive the machine, or the memory cgroup this process is in, out of memory once.

    on_progress is called about once a second with the bytes populated so far. Raises
    FindlimitError, stall.StalledError, and whatever signal handlers and on_progress raise.
    """
    own = cgroup.own()
    work = _plan(settings, own)
    board = populate.Board(len(work.cpus))
    try:
        log = oom_log.OomLog()
    except OSError as error:
        raise FindlimitError(
            f"the kernel's log, {kernel_log.KMSG}, cannot be read ({error.strerror}): no OOM kill "
            f"could be confirmed. {kernel_log.advice(error)}"
        ) from error
    with log, _Signals() as signals:
        charged = (own.usage_bytes() if own else None) or 0
        available, before = procfs.meminfo()["MemAvailable"], memory_breakdown.now()
        with memory.resident():
            watch = _Watch(board, log, settings.stall_s, on_progress)
            end = _run_child(work, board, signals, watch)
        kill = _confirm(end, board, log)
        counted = board.populated_bytes
        # Where next to nothing is to be had, reclaim takes of what the child had before it began.
        rss = max(0, end.max_rss_bytes - board.baseline_bytes - kill.sizes.get("file-rss", 0))
        warnings = [
            f"no thread could run on CPU {work.cpus[thread]} (offline, or not in the cpuset any "
            "more): findlimit's ran on others"
            for thread in board.displaced
        ]
        swapped = _swapped(kill, settings)
        warnings += _witness_warnings(work, board, rss, kill, swapped)
        if watch.absent_s > _ABSENT_S:
            warnings.append(
                f"this process did not run for {watch.absent_s:.0f} s, stopped or starved: the "
                "child's death was seen late, and the duration includes that"
            )
        with signals.window():
            release_s = _await_release(own, charged, min(counted, rss), kill, end.died_ns)
        if release_s is None:
            release_s = _BACK_TIMEOUT_S
            warnings.append(f"the memory was not all back after {_BACK_TIMEOUT_S:g} s")
        warnings += _log_warnings(log, kill)
    return Limit(
        available_bytes=counted,
        rss_bytes=rss,
        oom_rss_bytes=kill.rss_bytes,
        duration_s=(end.died_ns - board.started_ns) / 1e9,
        release_s=release_s,
        constraint=kill.constraint,
        oom_free_bytes=kill.free_bytes,
        oom_free_pcp_bytes=kill.free_pcp_bytes,
        mem_available_bytes=available,
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
    machine = sizes["MemTotal"] + (0 if settings.no_swap else sizes.get("SwapTotal", 0))
    limit = own.limit_bytes() if own else None
    return populate.plan(
        settings.cpus,
        memory_bytes=min(machine, limit or machine),
        mapping_bytes=settings.mapping_bytes or machine,
        huge_bytes=memory.huge_page_bytes(),
        thp=settings.thp,
        no_swap=settings.no_swap,
    )


# The child's life


@dataclass(frozen=True)
class _End:
    """How the child ended: wait4's status word, its resident set at most, and when (monotonic)."""

    pid: int
    status: int
    max_rss_bytes: int
    died_ns: int


class _Signals:
    """Keeps the signals that end a run waiting, but for the stretches where they are let in.

    A context manager. Its window() is another: handlers may raise from there and nowhere else.
    """

    def __init__(self) -> None:
        numbers = (*STOP_SIGNALS, signal.SIGALRM)
        self._numbers = [number for number in numbers if callable(signal.getsignal(number))]

    def hold(self) -> None:
        """Hold them; those that came before have run their handlers when this returns."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)

    def release(self) -> None:
        """Let them in, and those that waited."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)

    def __enter__(self) -> _Signals:
        try:
            self.hold()
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @contextmanager
    def window(self) -> Iterator[None]:
        """Let signals in while the body runs."""
        try:
            self.release()
            yield
        finally:
            self.hold()


def _run_child(
    work: populate.Plan,
    board: populate.Board,
    signals: _Signals,
    watch: _Watch,
) -> _End:
    """Start the child and wait for its end; it is dead and reaped however this function is left.

    But for a child that cannot be killed, as the kernel has not come to it: nobody could wait for
    that. Its memory comes back at its end, which on a large machine takes a while.
    """
    pid = _fork(work, board)
    descriptor = -1
    try:
        descriptor = pidfd.open_pidfd(pid)
        with signals.window():
            watch.until_death(pid, descriptor)
        died_ns = time.monotonic_ns()
        _, status, usage = os.wait4(pid, 0)
    except BaseException as error:
        signals.hold()  # A handler may have raised on the way out of the window.
        os.kill(pid, signal.SIGKILL)
        gone = reap.ended(pid, _KILL_S, lambda: memory.free_bytes() // _KILL_BYTES)
        if isinstance(error, stall.StalledError):
            error.record["unkillable"] = not gone
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return _End(pid, status, usage.ru_maxrss * 1024, died_ns)


def _fork(work: populate.Plan, board: populate.Board) -> int:
    """Start the child and return its pid."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Else the kernel reaps it, and tells nobody.
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        raise FindlimitError(f"cannot start findlimit's child: {error.strerror}") from error
    if pid == 0:
        populate.run(work, board, parent)
    return pid


class _Watch:
    """Waits for the child's death, tells how far it is, and notices when nothing moves."""

    def __init__(
        self,
        board: populate.Board,
        log: oom_log.OomLog,
        stall_s: float,
        on_progress: Progress | None,
    ) -> None:
        self._board = board
        self._log = log
        self._clock = stall.Clock(stall_s)
        self._stall_s = stall_s
        self._on_progress = on_progress
        self._kills = 0
        self.absent_s = 0.0  # the longest time for which this process did not get to look

    def until_death(self, pid: int, descriptor: int) -> None:
        """Return when the child is dead. Raises StalledError, and what on_progress raises."""
        while not self._see_end(descriptor):
            have = self._board.populated_bytes
            if self._on_progress:
                self._on_progress(have)
            if self._clock.stalled(have) and not self._killed_another():
                self._give_up(pid, have)

    def _see_end(self, descriptor: int) -> bool:
        """Return whether the child has ended, after a second at most if we are not kept from it."""
        start = time.monotonic()
        ended = pidfd.ended(descriptor, _PROGRESS_S)
        self.absent_s = max(self.absent_s, time.monotonic() - start - _PROGRESS_S)
        return ended

    def _killed_another(self) -> bool:
        """Return whether the OOM killer took somebody since this was last asked."""
        before, self._kills = self._kills, len(self._log.kills())
        if self._kills == before:
            return False
        self._clock.reset()
        return True

    def _give_up(self, pid: int, have: int) -> None:
        record = {"populated_bytes": have, "unkillable": False, **stall.record(pid)}
        raise stall.StalledError(
            f"findlimit's child has {have >> 20} MiB and got no more for {self._stall_s:g} s "
            "(--stall-s), nor did the OOM killer come: the result has what the kernel says about "
            "it, in run.stall",
            record,
        )


# Why it died


def _confirm(end: _End, board: populate.Board, log: oom_log.OomLog) -> oom_log.Kill:
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
        limit, used = (sizes.get(name, 0) >> 20 for name in ("CommitLimit", "Committed_AS"))
        return (
            f". vm.overcommit_memory is 2, CommitLimit {limit} MiB, of which others have {used} "
            "MiB: sysctl vm.overcommit_memory=0"
        )
    return (
        f". Look at ulimit -v, ulimit -d and vm.max_map_count ({memory.sysctl('vm.max_map_count')})"
    )


# Was it true?


def _swapped(kill: oom_log.Kill, settings: Settings) -> tuple[int, int]:
    """Return how much of the child was in swap, at least and at most."""
    if settings.no_swap:
        return 0, 0
    if kill.swapped_bytes is not None:
        return kill.swapped_bytes, kill.swapped_bytes
    used = kill.swap_used_bytes
    return 0, procfs.meminfo().get("SwapTotal", 0) if used is None else used


def _witness_warnings(
    work: populate.Plan,
    board: populate.Board,
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


def _log_warnings(log: oom_log.OomLog, kill: oom_log.Kill) -> list[str]:
    others = [
        f"the OOM killer also took {other.pid} ({other.name}): {other.message}"
        for other in log.kills()
        if other is not kill
    ]
    lost = ["the kernel's log overflowed: other OOM kills may have gone unseen"] if log.lost else []
    return others + lost


# After


def _await_release(
    own: cgroup.MemoryCgroup | None, charged: int, taken: int, kill: oom_log.Kill, died_ns: int
) -> float | None:
    """Wait until TAKEN bytes are free again and stay so; return how long after the death that was.

    charged: what OWN held before. None: they were not back within the time allowed.
    """
    inside = own if own and kill.constraint == "CONSTRAINT_MEMCG" else None
    deadline_ns = died_ns + int(_BACK_TIMEOUT_S * 1e9)
    last, since_ns = -1, died_ns
    while True:
        at_ns = time.monotonic_ns()
        if inside:
            back = charged + taken - (inside.usage_bytes() or 0)
        else:
            # Next to nothing was free when the killer came, so all that the child had must be.
            back = memory.free_bytes(agreement.BACK_SHARE * taken)
        if back >= agreement.BACK_SHARE * taken and abs(back - last) <= max(taken // 1000, 1 << 20):
            return (since_ns - died_ns) / 1e9
        if at_ns > deadline_ns:
            return None
        last, since_ns = back, at_ns
        time.sleep(_BACK_INTERVAL_S)

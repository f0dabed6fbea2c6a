# SPDX-License-Identifier: GPL-2.0-only
"""The life of findlimit's child as its parent sees it: started, waited for, dead and reaped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from page_alloc_bench.runner.errors import FindlimitError
from page_alloc_bench.runner.kernel import memory, oom_log, pidfd
from page_alloc_bench.runner.lifetime import reap
from page_alloc_bench.runner.lifetime.signals import STOP_SIGNALS
from page_alloc_bench.runner.measuring import stall
from page_alloc_bench.runner.result import units

from . import populate
from .board import Board

PROGRESS_S = 1.0
_KILL_S = 30.0
_KILL_BYTES = 64 << 20  # a process that gives back less in that time does not end

Progress = Callable[[int], None]


@dataclass(frozen=True)
class End:
    """How the child ended: wait4's status word, its resident set at most, and when (monotonic)."""

    pid: int
    status: int
    max_rss_bytes: int
    died_ns: int


class HeldSignals:
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

    def __enter__(self) -> HeldSignals:
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


def live(
    work: populate.Plan,
    board: Board,
    signals: HeldSignals,
    watch: Watch,
) -> End:
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
    return End(pid, status, usage.ru_maxrss * 1024, died_ns)


def _fork(work: populate.Plan, board: Board) -> int:
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


class Watch:
    """Waits for the child's death, tells how far it is, and notices when nothing moves."""

    def __init__(
        self,
        board: Board,
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
        ended = pidfd.ended(descriptor, PROGRESS_S)
        self.absent_s = max(self.absent_s, time.monotonic() - start - PROGRESS_S)
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
            f"findlimit's child has {units.whole_mib(have)} and got no more for {self._stall_s:g} "
            "s (--stall-s), nor did the OOM killer come: run.stall in the result says more",
            record,
        )

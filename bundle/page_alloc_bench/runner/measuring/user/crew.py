# SPDX-License-Identifier: GPL-2.0-only
"""The processes of a workload: started together, waited for, and gone however it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.lifetime import reap
from page_alloc_bench.runner.lifetime.alone import stand_alone
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.findlimit.child import HeldSignals

from .slate import READY, Slate

NAME = "pab-user"
_POLL_S = 0.01
_TICK_S = 0.25
_READY_S = 120.0
_END_S = 30.0

Body = Callable[[Slate, Sequence[int]], None]


class Crew:
    """Processes, each of some workers; a context manager, after which they are dead and reaped.

    what: is measured, for messages. shares: the numbers of the workers of each process. body: what
    a process does; given the slate and its workers.
    """

    def __init__(
        self, bench: Bench, what: str, slate: Slate, shares: Sequence[Sequence[int]], body: Body
    ) -> None:
        self._bench = bench
        self._what = what
        self._slate = slate
        self._shares = shares
        self._body = body
        self.pids: list[int] = []

    def __enter__(self) -> Crew:
        self._bench.watched.append(self._check)
        try:
            parent = os.getpid()
            with HeldSignals():
                for share in self._shares:
                    pid = os.fork()
                    if pid == 0:
                        self._live(share, parent)
                    self.pids.append(pid)
        except BaseException as error:
            self.__exit__()
            if isinstance(error, OSError):
                raise RunnerError(
                    f"{self._what}: cannot start a process: {error.strerror}"
                ) from error
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        with self._bench.signals.deferred():
            if self._check in self._bench.watched:
                self._bench.watched.remove(self._check)
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)  # it is ours until it is reaped
            for pid in self.pids:
                reap.ended(pid, _END_S)
            self.pids.clear()

    def _live(self, share: Sequence[int], parent: int) -> NoReturn:
        """Be a process: whatever happens, it ends in here."""
        try:
            stand_alone(parent, NAME)
            self._body(self._slate, share)
            os._exit(0)
        except BaseException as error:
            self._slate.fail(f"{type(error).__name__}: {error}")
        finally:
            os._exit(1)

    def await_ready(self, seconds: float = _READY_S) -> None:
        """Return when all workers are ready. Raises RunnerError."""
        self.wait(seconds, "", lambda: all(self._slate.each(READY)))
        if not all(self._slate.each(READY)):
            raise RunnerError(f"{self._what}: its processes were not ready in {seconds:g} s")

    def wait(
        self,
        seconds: float,
        text: str,
        until: Callable[[], bool] | None = None,
        *,
        poll_s: float = _POLL_S,
    ) -> None:
        """Wait so long, or until something is true. Raises RunnerError if a process ends.

        Those of other crews are looked at too: what is measured here needs them.

        poll_s: between two looks; where processes are measured meanwhile, looks cost them time.
        """
        end = time.monotonic() + seconds
        poll_s = _TICK_S if until is None else poll_s
        while (left := end - time.monotonic()) > 0 and not (until is not None and until()):
            self._bench.reporter.tick(text)
            self._check_all()
            time.sleep(min(left, poll_s))
        self._check_all()

    def finish(self) -> None:
        """Ask the workers to end, and return when they have. Raises RunnerError."""
        self._slate.stop()
        with self._bench.signals.deferred():
            while self.pids:
                pid = self.pids[-1]
                if not reap.ended(pid, _END_S):
                    raise RunnerError(f"{self._what}: process {pid} does not end")
                self.pids.pop()
        if self._slate.reason:
            raise RunnerError(f"{self._what}: {self._slate.reason}")

    def _check_all(self) -> None:
        for check in self._bench.watched:
            check()

    def _check(self) -> None:
        for pid in self.pids:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                why = self._slate.reason or "it was killed; was the OOM killer here? (dmesg)"
                raise RunnerError(f"{self._what}: process {pid} has ended: {why}")

# SPDX-License-Identifier: GPL-2.0-only
"""Turn signals and the time limit into one exception, raised where it can do no harm.

The first wish to stop is raised in the main thread as a Stop, unless a deferred() block is being
run, which it then follows. Whatever comes after the first is noted by nobody: cleaning up goes on
undisturbed.
"""

from __future__ import annotations

import signal
from types import FrameType

from page_alloc_bench.runner.errors import Interrupted, Stop, TimedOut

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Signals:
    """The one owner of the process's signal handlers and of its interval timer."""

    def __init__(self) -> None:
        self._depth = 0
        self._stop: Stop | None = None
        self._raised = False
        self._timeout_s = 0.0
        self._left_s = 0.0  # of the timeout, when finish() stopped the timer

    def install(self) -> None:
        """Take over the signals that ask a process to end, but for those the caller ignores.

        nohup ignores SIGHUP and a shell's `&` SIGINT: that is somebody's decision.
        """
        for signum in STOP_SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, self._on_signal)
        signal.signal(signal.SIGALRM, self._on_signal)

    def set_timeout(self, seconds: float) -> None:
        """Raise TimedOut in this many seconds; 0 means never."""
        self._timeout_s = seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def finish(self) -> None:
        """Raise nothing any more: what comes now is cleaning up, and must not be cut short."""
        self._raised = True
        self._left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)

    def rearm(self) -> None:
        """Raise a Stop again, after finish(), for a signal that comes from now on.

        The timeout goes on with what was left of it; one that is over does not come again.
        """
        self._stop = None
        self._raised = False
        signal.setitimer(signal.ITIMER_REAL, self._left_s)

    def let_in(self) -> None:
        """Raise a Stop that waits for the end of a deferred() block, from within that block."""
        if self._stop is not None and not self._raised:
            self._raised = True
            raise self._stop

    def deferred(self) -> Deferred:
        """Let the body of a with statement run to its end before a Stop is raised."""
        return Deferred(self)

    def hold(self) -> None:
        """Raise no Stop until release() is called as often."""
        self._depth += 1

    def release(self) -> None:
        """Raise a Stop that has come meanwhile, if nothing else holds it."""
        self._depth -= 1
        self._raise_pending()

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self._stop is None:
            timed_out = signum == signal.SIGALRM
            self._stop = TimedOut(self._timeout_s) if timed_out else Interrupted(signum)
        self._raise_pending()

    def _raise_pending(self) -> None:
        if self._stop is not None and not self._raised and self._depth == 0:
            self._raised = True
            raise self._stop


class Deferred:
    """Holds the signals of a process while the body of a with statement runs."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.hold()

    def __exit__(self, *_error: object) -> None:
        self._signals.release()

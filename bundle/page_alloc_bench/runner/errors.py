# SPDX-License-Identifier: GPL-2.0-only
"""How a run can end other than well, and the exit code of each."""

from __future__ import annotations

EXIT_COMPLETE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_HOST_UNFIT = 3
EXIT_TIMEOUT = 124
EXIT_SIGNAL_BASE = 128

# Code and meaning of every way in which a bundle ends, for --help and the manual.
EXIT_CODES = (
    ("0", "complete; by `--status`: a run is going on"),
    (
        "1",
        "failed; what was measured so far is written, marked `complete: false`; also where stdout "
        "does not take what was asked for, for example because its reader has gone",
    ),
    (
        "2",
        "wrong usage: wrong options, an order or a CPU that this host does not have, an output "
        "file that cannot be written",
    ),
    (
        "3",
        "the host is not fit: no root, no Python or no place to unpack one, no module for its "
        "kernel, another run, too little memory for the antagonist, or what else the preflight "
        "refuses",
    ),
    ("124", "the time of `--timeout-s` is over; what was measured so far is written"),
    ("128+n", "stopped by signal n (130 is Ctrl-C); what was measured so far is written"),
    ("137", "by `--attach`: the detached run was killed or crashed; nothing more is written"),
    ("10", "by `--status`: the detached run has ended, and `--attach` can fetch its result"),
    ("11", "by `--status`: the detached run was killed, and `--attach` can fetch what it said"),
    ("12", "by `--status`, `--attach` and `--stop`: there is no run, and no result to fetch"),
)


class RunnerError(Exception):
    """The run cannot go on; the message is one line that says why and what to do."""

    exit_code = EXIT_FAILED


class UsageError(RunnerError):
    """The options ask for what cannot be."""

    exit_code = EXIT_USAGE


class HostUnfitError(RunnerError):
    """The host is in no state to be measured; nothing has been changed on it."""

    exit_code = EXIT_HOST_UNFIT


class FindlimitError(RunnerError):
    """findlimit's child did not begin, or did not end by a confirmed OOM kill: nothing counts."""


class Stop(BaseException):
    """Somebody wants the run to end now.

    Not an Exception, so that no handler of ordinary failures takes it for one.
    """

    exit_code = EXIT_FAILED


class Interrupted(Stop):
    """A signal asks the run to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.exit_code = EXIT_SIGNAL_BASE + signum

    def __str__(self) -> str:
        import signal

        return f"stopped by {signal.Signals(self.signum).name}"


class TimedOut(Stop):
    """The time that --timeout-s allows is over."""

    exit_code = EXIT_TIMEOUT

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"not finished within --timeout-s={self.seconds:g}"


class NobodyListens(Stop):
    """The reader of our output went away: the pipe or connection is closed."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.stream = stream

    def __str__(self) -> str:
        return f"{self.stream} was closed by its reader"


def describe(error: BaseException) -> str:
    """Return error in one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return f"the kernel refused a call: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def exit_code(error: BaseException) -> int:
    """Return the exit code of a run that error ended."""
    code = getattr(error, "exit_code", EXIT_FAILED)
    assert isinstance(code, int)
    return code

# SPDX-License-Identifier: GPL-2.0-only
"""--detach: start a run in a session of its own, and return when it has really begun.

The process that the user started forks the run and stays until nothing can stand in its way any
more: it shows what the run says, and ends as the run does if the run does not get that far. The
run waits for it to be gone before anything is measured, for its memory would be counted.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any, NoReturn

from page_alloc_bench.runner import preflight, session
from page_alloc_bench.runner.errors import (
    EXIT_COMPLETE,
    EXIT_FAILED,
    EXIT_SIGNAL_BASE,
    HostUnfitError,
    Interrupted,
    RunnerError,
    Stop,
    UsageError,
    describe,
    exit_code,
)
from page_alloc_bench.runner.lifetime import descriptors
from page_alloc_bench.runner.lifetime.scratch import Scratch
from page_alloc_bench.runner.lifetime.signals import Signals
from page_alloc_bench.runner.options import Options
from page_alloc_bench.runner.telling import output, streams
from page_alloc_bench.runner.telling.progress import Reporter

from . import run_directory, verbs
from .run_directory import RunDirectory

_POLL_S = 0.05
_GOING_S = 10.0  # a starter that is stopped, or whose stderr nobody reads, is not waited for


class Attendant:
    """What a detached run has besides: it tells the state file how far it is."""

    def __init__(self, state: run_directory.State, directory: int, starter: int) -> None:
        """directory: the descriptor that holds the lock. starter: PID of who forked the run."""
        self._state = state
        self.directory = directory
        self._starter = starter

    def tell(self, values: dict[str, Any]) -> None:
        """Say how far the run is, see run_directory.State."""
        self._state.update(**values)

    def begun(self) -> None:
        """Say that the run has begun, and wait until who started it has gone."""
        self._state.update(begun=True)
        deadline = time.monotonic() + _GOING_S
        while os.getppid() == self._starter and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def written(self) -> None:
        """Say that the result is whole."""
        self._state.update(written=True)

    def ended(self, code: int) -> None:
        """Say how the run ended."""
        self._state.update(exit_code=code, ended_s=time.monotonic())


def detach(options: Options, signals: Signals, scratch: Scratch) -> int:
    """Start a run and return the exit code: in the run itself, which is another process.

    The process that called this does not come back. Raises Stop before there is a run.
    """
    if options.output_path not in (None, output.NOWHERE):
        found, place, _ = output.find(options.output_path)
        if place:
            os.close(found)
        elif found != 1:
            raise UsageError("a detached run keeps no file open: name one as --output-path")
        options.output_path = place or None
    starter = os.getpid()
    with signals.deferred():
        try:
            directory = _make_directory()
        except (RunnerError, OSError) as error:
            _say(f"error: {describe(error)}")
            return exit_code(error)
        try:
            pid = os.fork()
        except OSError as error:
            directory.remove()
            _say(f"error: cannot start a process: {error.strerror}")
            return EXIT_FAILED
        if pid:
            directory.close()
            _leave(pid, options, signals)
        try:
            attendant = _settle(directory, options, scratch, starter)
        except OSError as error:
            _say(f"error: {describe(error)}")
            return EXIT_FAILED
    return _run(options, signals, scratch, attendant)


def _make_directory() -> RunDirectory:
    """Return a new directory for the run. Raises HostUnfitError if there is one, and OSError."""
    run_directory.require_root(preflight.NOT_ROOT)
    with suppress(FileExistsError):
        return RunDirectory.make()
    _require_leftover()
    return RunDirectory.make()


def _require_leftover() -> None:
    """Remove a directory that no run has written to. Raises HostUnfitError if one has."""
    directory = RunDirectory.find()
    if directory is None:
        return
    try:
        found = verbs.look(directory)
        if found is None and directory.is_over():
            directory.remove()  # its maker was killed at once
        else:
            raise HostUnfitError(verbs.in_the_way(found))
    finally:
        directory.close()


# In the run.


def _settle(directory: RunDirectory, options: Options, scratch: Scratch, starter: int) -> Attendant:
    """Be a process that nothing ties to where it was started; return its attendant."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    result = directory.open(run_directory.RESULT, os.O_WRONLY)
    log = directory.open(run_directory.LOG, os.O_WRONLY | os.O_APPEND)
    for standard, descriptor in enumerate((null, result, log)):
        os.dup2(descriptor, standard)
    state = directory.open(run_directory.STATE, os.O_WRONLY)
    needed = {0, 1, 2, state, directory.descriptor, *scratch.adopt()}
    descriptors.close_all_but(needed)
    os.chdir("/")
    return Attendant(
        run_directory.begin_state(state, options.output_path), directory.descriptor, starter
    )


def _run(options: Options, signals: Signals, scratch: Scratch, attendant: Attendant) -> int:
    """Do the run, and note how it ended."""
    code = EXIT_FAILED
    try:
        code = session.run(options, signals, scratch, attendant)
    except Stop as stop:
        code = stop.exit_code
        raise
    finally:
        attendant.ended(code)
    return code


# In the process that the user started.


def _leave(pid: int, options: Options, signals: Signals) -> NoReturn:
    """See the run off, and end this process.

    None of its callers may clean up: what they would remove is the run's by now.
    """
    code = EXIT_FAILED
    try:
        code = _see_off(pid, options, signals)
    except Stop as stop:
        code = stop.exit_code  # the connection has dropped: the run goes on, as it was asked to
    except BaseException:
        streams.say_traceback()
    finally:
        os._exit(code)


def _see_off(pid: int, options: Options, signals: Signals) -> int:
    """Show what the run says until it has begun or ended; return the exit code."""
    reporter = Reporter(quiet=options.quiet, verbose=options.verbose)
    directory = RunDirectory.find()
    if directory is None:
        raise RunnerError("the directory of the run no longer exists")
    watched = _Beginning(pid, directory)
    with signals.deferred():
        verbs.follow(directory, reporter, watched.is_decided, lambda: _pause(pid, signals))
        signals.finish()
    if watched.code is None:
        reporter.hint(_how_to_come_back(pid, options))
        return EXIT_COMPLETE
    directory.remove()
    return watched.code


class _Beginning:
    """Waits for a run to begin. code: how it ended before that, None if it has begun."""

    def __init__(self, pid: int, directory: RunDirectory) -> None:
        self._pid = pid
        self._state = directory.reader(run_directory.STATE)
        self.code: int | None = None

    def is_decided(self) -> bool:
        """Return whether the run has begun or ended."""
        ended, status = os.waitpid(self._pid, os.WNOHANG)
        if (run_directory.read_state(self._state) or {}).get("begun"):
            return True
        if ended and os.WIFSIGNALED(status):
            self.code = EXIT_SIGNAL_BASE + os.WTERMSIG(status)
        elif ended:
            self.code = os.WEXITSTATUS(status)
        return bool(ended)


def _pause(pid: int, signals: Signals) -> None:
    """Wait a little; pass on a wish to stop. Raises Interrupted if it was but the terminal's end.

    The run decides what becomes of the wish, and we go on to tell what it did.
    """
    time.sleep(_POLL_S)
    try:
        signals.let_in()
    except Interrupted as stop:
        import signal

        if stop.signum == signal.SIGHUP:
            raise
        os.kill(pid, stop.signum)


def _how_to_come_back(pid: int, options: Options) -> str:
    path = options.output_path
    goes_to = "" if path in (None, output.NOWHERE) else f"; the result goes to {path}"
    fetched = "follows it" if path else "follows it and fetches the result"
    return (
        f"the run goes on as PID {pid}: --status looks at it, --attach {fetched}, --stop ends it"
        f"{goes_to}"
    )


def _say(text: str) -> None:
    streams.say(text)

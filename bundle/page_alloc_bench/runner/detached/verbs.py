# SPDX-License-Identifier: GPL-2.0-only
"""Come back to a detached run: --status, --attach and --stop.

All three also know a run that was not detached, by the claim that every run holds; only --attach
can do nothing about that one.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from page_alloc_bench.runner.detached import whereabouts
from page_alloc_bench.runner.errors import (
    EXIT_COMPLETE,
    EXIT_FAILED,
    EXIT_SIGNAL_BASE,
    Interrupted,
    RunnerError,
    Stop,
    describe,
)
from page_alloc_bench.runner.kernel import pidfd
from page_alloc_bench.runner.lifetime.claim import Claim, find
from page_alloc_bench.runner.lifetime.signals import Signals
from page_alloc_bench.runner.measuring.estimate import duration
from page_alloc_bench.runner.module import loading
from page_alloc_bench.runner.options import Options
from page_alloc_bench.runner.telling import output, streams
from page_alloc_bench.runner.telling.progress import Reporter

from . import run_directory
from .run_directory import RunDirectory

EXIT_ENDED = 10
EXIT_KILLED = 11
EXIT_NONE = 12

RUNNING, ENDED, KILLED, NONE = "running", "ended", "killed", "none"
_EXIT_CODES = {RUNNING: EXIT_COMPLETE, ENDED: EXIT_ENDED, KILLED: EXIT_KILLED, NONE: EXIT_NONE}
_POLL_S = 0.2
_BLOCK = 1 << 16
_NOTHING = "there is no run on this host, and no result to fetch"


@dataclass(frozen=True)
class Found:
    """A detached run. state: running, ended or killed. values: see run_directory.State."""

    state: str
    values: dict[str, Any]

    @property
    def exit_code(self) -> int | None:
        """Return how the run ended, None if it has not."""
        if self.state == KILLED:
            return EXIT_SIGNAL_BASE + signal.SIGKILL
        code: int | None = self.values["exit_code"]
        return code

    @property
    def elapsed_s(self) -> float:
        """Return how long it has run, or did; of one that was killed nobody knows that."""
        until = self.values["ended_s"] or time.monotonic()
        return float(until - self.values["started_s"])


def look(directory: RunDirectory) -> Found | None:
    """Return the run that the directory is of; None if none has written to it."""
    try:
        descriptor = directory.reader(run_directory.STATE)
    except FileNotFoundError:
        return None
    values = run_directory.read_state(descriptor)
    if values is None:
        return None
    # Before its last word is read, for it is gone a moment after that.
    alive = run_directory.is_alive(values)
    values = run_directory.read_state(descriptor) or values
    if values["exit_code"] is not None:
        return Found(ENDED, values)
    return Found(RUNNING if alive else KILLED, values)


def in_the_way(found: Found | None) -> str:
    """Return why another run cannot be detached now."""
    if found is None:
        return "another run is being detached at this moment"
    if found.state == RUNNING:
        return (
            f"a detached run (PID {found.values['pid']}) is running: see --status, --attach, --stop"
        )
    how = "was killed" if found.state == KILLED else f"ended with {found.exit_code}"
    return (
        f"what a detached run has left (it began at {found.values['started_at']} and {how}) has "
        "not been fetched: --attach fetches it, and --attach >/dev/null discards it"
    )


def run_verb(options: Options, signals: Signals) -> int:
    """Carry out --attach, --status or --stop; return the exit code."""
    reporter = Reporter(quiet=options.quiet, verbose=options.verbose)
    verb = {"attach": attach, "status": status, "stop": stop}[options.verb or ""]
    try:
        run_directory.require_root()
        return verb(options, signals, reporter)
    except (RunnerError, Stop, OSError) as error:
        reporter.error(describe(error))
        return int(getattr(error, "exit_code", EXIT_FAILED))


# --status


def status(_options: Options, _signals: Signals, _reporter: Reporter) -> int:
    """Print what there is on stdout: text on a terminal, JSON elsewhere."""
    document = _document()
    streams.tell(_text(document) if os.isatty(1) else json.dumps(document, indent=1))
    return _EXIT_CODES[document["state"]]


def _document() -> dict[str, Any]:
    """Return what --status tells."""
    directory = RunDirectory.find()
    found = look(directory) if directory is not None else None
    document: dict[str, Any] = {"state": NONE, "detached": found is not None}
    if directory is not None and found is not None:
        document = _of_state(found, detached=True)
        document["exit_code"] = found.exit_code
        document["result"] = _place(found.values["output_path"], directory)
    claim = find()
    if claim is not None and document["state"] == NONE:
        document = {"state": RUNNING if claim.pid else KILLED, "detached": False, "pid": claim.pid}
        values = whereabouts.find(claim.pid) if claim.pid else None
        if values is not None:
            document = _of_state(Found(RUNNING, values), detached=False)
            document["result"] = values["output_path"]
    # A run that was killed is cleaned up after by its watchdog.
    over = claim is None if directory is None else directory.is_over()
    document["host_is_clean"] = over and not loading.is_loaded()
    return document


def _of_state(found: Found, *, detached: bool) -> dict[str, Any]:
    """Return what a run says of itself as --status tells it."""
    values = found.values
    names = ("phase", "progress", "phase_number", "phases", "filled", "left_s")
    return {
        "state": found.state,
        "detached": detached,
        "pid": values["pid"],
        "started_at": values["started_at"],
        "elapsed_s": None if found.state == KILLED else round(found.elapsed_s, 1),
        **{name: values[name] for name in names},
        "exit_code": None,
        "result_written": values["written"],
    }


def _place(output_path: str | None, directory: RunDirectory) -> str | None:
    """Return where the result of a detached run is or will be; None: nobody wants it."""
    if output_path == output.NOWHERE:
        return None
    return output_path or f"{directory.path}/{run_directory.RESULT}"


def _text(document: dict[str, Any]) -> str:
    """Return what --status tells, for a person."""
    state, pid = document["state"], document.get("pid")
    if state == NONE:
        return _NOTHING
    lines = [state if pid is None else f"{state}: PID {pid}"]
    if not document["detached"]:
        lines[0] += ", not a detached run"
    if "phase" not in document:
        return lines[0]
    lines[0] += f", began at {document['started_at']}"
    if document["elapsed_s"] is not None:
        took = "for" if state == RUNNING else "took"
        lines[0] += f", {took} {duration(document['elapsed_s'])}"
    where = ", ".join(filter(None, (document["phase"], document["progress"])))
    if state == RUNNING:
        return "\n".join(filter(None, (lines[0], where, _yet(document))))
    lines.append(f"exit code {document['exit_code']}, in: {where}")
    if not document["host_is_clean"]:
        lines.append("the host is not clean yet: its watchdog or another run is at work")
    lines.append("--attach tells the rest, and fetches the result if there is one")
    return "\n".join(lines)


def _yet(document: dict[str, Any]) -> str:
    """Return how much a run has yet to do, as far as it knows."""
    number, left = document["phase_number"], document["left_s"]
    return ", ".join(
        [
            *([f"phase {number} of {document['phases']}"] if number else []),
            *([f"about {duration(left)} left"] if left is not None else []),
        ]
    )


# --attach


def attach(options: Options, signals: Signals, reporter: Reporter) -> int:
    """Follow a detached run to its end, hand over its result, and return its exit code."""
    directory = RunDirectory.find()
    if directory is None or look(directory) is None:
        if directory is not None and directory.is_over():
            directory.remove()  # its maker was killed at once
        return _say_none(reporter)
    directory.reader(run_directory.RESULT)  # open from here on, also if another one removes it it
    out = output.open_output(options.output_path, lambda _: None)
    out.discard()  # an hour from now is too late to say that it cannot be written
    reporter.watch_stdout(needed=out.to_stdout)
    try:
        with signals.deferred():
            follow(directory, reporter, directory.is_over, lambda: _pause(signals))
            code = _fetch(directory, options, signals, reporter)
            signals.finish()
            return code
    except Interrupted:
        reporter.hint("the run goes on, or what it left stays: --attach comes back to it")
        raise


def follow(
    directory: RunDirectory,
    reporter: Reporter,
    is_over: Callable[[], bool],
    pause: Callable[[], object],
) -> None:
    """Show what the run says, from its beginning, until it is over.

    pause: called between looks; it may raise. Raises NobodyListens when stderr is closed.
    """
    log = directory.reader(run_directory.LOG)
    while True:
        over = is_over()  # before its last words are read
        while data := os.read(log, _BLOCK):
            reporter.pass_on(data)
        reporter.check_readers()
        if over:
            return
        pause()


def _pause(signals: Signals) -> None:
    time.sleep(_POLL_S)
    signals.let_in()


def _fetch(directory: RunDirectory, options: Options, signals: Signals, reporter: Reporter) -> int:
    """Write the result of a run that is over, and remove the directory; return the exit code."""
    found = look(directory)
    assert found is not None, "its state was there to be read, and its descriptor is open"
    if found.state == KILLED:
        reporter.error(f"the run (PID {found.values['pid']}) was killed; its watchdog cleaned up")
    elif found.values["written"] and found.values["output_path"]:
        reporter.hint(f"the result is in {found.values['output_path']}")
    elif found.values["written"] and not _deliver(directory, options, signals, reporter):
        return int(found.exit_code or EXIT_COMPLETE)
    directory.remove()
    return int(found.exit_code or EXIT_COMPLETE)


def _deliver(
    directory: RunDirectory, options: Options, signals: Signals, reporter: Reporter
) -> bool:
    """Write the result where it is wanted; return whether it may go, which "none" says too."""
    if options.output_path == output.NOWHERE:
        return True
    out = output.open_output(options.output_path, lambda _: None)
    if not out.wanted:
        reporter.hint(
            "the result is kept, as stdout is a terminal: fetch it with --attach --output-path FILE"
        )
        return False
    try:
        out.write(_chunks(directory.reader(run_directory.RESULT)), signals.let_in)
    finally:
        out.discard()
    return True


def _chunks(descriptor: int) -> Iterator[str]:
    with open(descriptor, encoding="utf-8", closefd=False) as stream:
        while chunk := stream.read(_BLOCK):
            yield chunk


# --stop


def stop(_options: Options, signals: Signals, reporter: Reporter) -> int:
    """Ask the run on this host to end, wait until it has and the host is clean, and say so."""
    claim = find()
    if claim is None:
        return _say_none(reporter)
    if claim.pid is None:
        reporter.hint("the run was killed; waiting until its watchdog has cleaned up")
    with signals.deferred():
        if claim.pid is not None:
            _end(claim.pid, claim, signals, reporter)
        while claim.held():  # by its watchdog, should it have been killed
            _pause(signals)
        signals.finish()
    if loading.is_loaded():
        raise RunnerError("the run has ended, and the module is still loaded: see dmesg")
    reporter.hint(f"the run has ended, and the host is clean{_what_is_left()}")
    return EXIT_COMPLETE


def _end(pid: int, claim: Claim, signals: Signals, reporter: Reporter) -> None:
    """Send SIGTERM to the run, to no process that has come to have its number, and wait for it."""
    try:
        descriptor = pidfd.open_pidfd(pid)
    except ProcessLookupError:
        return
    try:
        if not claim.held_by(pid):
            return  # it has just ended
        reporter.hint(f"waiting for PID {pid} to end")
        pidfd.send_signal(descriptor, signal.SIGTERM)
        pidfd.send_signal(descriptor, signal.SIGCONT)  # it may have been stopped
        while not pidfd.ended(descriptor, _POLL_S):
            signals.let_in()
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _what_is_left() -> str:
    """Return what to do about what a detached run has left."""
    directory = RunDirectory.find()
    found = look(directory) if directory is not None else None
    if found is None:
        return ""
    return "; --attach tells how it ended and fetches what it has measured"


def _say_none(reporter: Reporter) -> int:
    claim = find()
    if claim is not None and claim.pid is not None:
        reporter.error(
            f"the run on this host (PID {claim.pid}) is not detached: --stop can end it, and its "
            "result goes where it was told"
        )
    else:
        reporter.error(_NOTHING)
    return EXIT_NONE

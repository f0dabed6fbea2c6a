# SPDX-License-Identifier: GPL-2.0-only
"""The only module of the packager that starts other programs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.packager.errors import NOT_FIT, PackagerError
from page_alloc_bench.temporary import locks

# What run() has started and not seen the end of; several threads may be in it.
_running: set[subprocess.Popen[str]] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Finished:
    """What a program left: its exit status (negative: the signal) and what it said."""

    status: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``command`` to its end and return what it said; its exit status is the caller's to judge.

    The program gets a process group of its own, so that an interrupted build takes all of make's
    children with it. Raises PackagerError when the program does not exist.
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=locks(),
        )
    except FileNotFoundError as error:
        raise PackagerError(
            f"{command[0]} is not installed", f"install {command[0]} and try again", NOT_FIT
        ) from error
    with process, _registered(process):
        try:
            stdout, stderr = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Finished(process.returncode, stdout, stderr)


def stop_all() -> None:
    """Kill everything that run() has started in any thread; an exception reaches but one."""
    with _lock:
        for process in _running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _registered(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let stop_all() find ``process``."""
    with _lock:
        _running.add(process)
    try:
        yield
    finally:
        with _lock:
            _running.discard(process)


def run_in_foreground(command: Sequence[str]) -> int:
    """Run ``command`` on the caller's own terminal; return its exit code, 128 + n for signal n.

    The terminal's Ctrl-C reaches the program itself, which decides what becomes of it; a
    termination sent to us is handed on.
    """
    process = subprocess.Popen(list(command), pass_fds=locks())
    with _signals_for(process):
        status = process.wait()
    return status if status >= 0 else 128 - status


@contextmanager
def _signals_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave SIGINT to ``process`` and hand it SIGTERM and SIGHUP."""
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda n, _: process.send_signal(n)),
        signal.SIGHUP: signal.signal(signal.SIGHUP, lambda n, _: process.send_signal(n)),
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

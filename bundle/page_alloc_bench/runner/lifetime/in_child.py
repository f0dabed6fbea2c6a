# SPDX-License-Identifier: GPL-2.0-only
"""Do something in a child process, so that what it takes to do it does not stay in memory.

The runner lives on a host that it drives out of memory, and counts that memory: what it needs for a
moment only (psutil, zip files, OpenSSL's digests) would be a part of every figure.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from page_alloc_bench.runner.errors import EXIT_FAILED, RunnerError, describe
from page_alloc_bench.runner.telling import streams

from . import reap

Value = TypeVar("Value")
LIMIT_S = 300.0  # a file system that does not answer, say
_LOOK_S = 1.0
_BLOCK = 1 << 16


def _nothing() -> None:
    """Do nothing."""


def call(
    function: Callable[[], Value],
    while_waiting: Callable[[], object] = _nothing,
    limit_s: float = LIMIT_S,
) -> Value:
    """Return what function returns in a child: numbers, text, bytes, and lists and dicts of them.

    A RunnerError of the function is raised here with its message and exit code, an OSError as a
    RunnerError with its message; whatever else it raises is a RunnerError too, after the traceback
    on stderr. while_waiting: called about once a second; it may raise. A child that has not
    answered after limit_s is killed, which is a RunnerError.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(function, writer)
    os.close(writer)
    try:
        data = _await_answer(reader, while_waiting, limit_s)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        reap.ended(pid)
        raise
    finally:
        os.close(reader)
    if data is None:
        os.kill(pid, signal.SIGKILL)
    reap.ended(pid)
    if data is None:
        raise RunnerError(
            f"a look at this host did not end within {limit_s:g} s: check whether a file system or "
            "a service hangs (dmesg, ps -eo pid,stat,wchan:32,args)"
        )
    if not data:
        raise RunnerError(f"a child process ended in {function.__qualname__}")
    message, exit_code, value = marshal.loads(data)  # noqa: S302 (our own child's)
    if message is not None:
        error = RunnerError(message)
        error.exit_code = exit_code
        raise error
    answer: Value = value
    return answer


def _await_answer(reader: int, while_waiting: Callable[[], object], limit_s: float) -> bytes | None:
    """Return all that comes from a pipe until its end; None if that has not come in time."""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    deadline = time.monotonic() + limit_s
    parts: list[bytes] = []
    while time.monotonic() < deadline:
        if not poller.poll(_LOOK_S * 1000):
            while_waiting()
        elif part := os.read(reader, _BLOCK):
            parts.append(part)
        else:
            return b"".join(parts)
    return None


def _answer(function: Callable[[], object], writer: int) -> NoReturn:
    """Be the child: whatever happens, the process ends in here."""
    try:
        try:
            answer: tuple[str | None, int, Any] = (None, 0, function())
        except RunnerError as error:
            answer = (str(error), error.exit_code, None)
        except OSError as error:  # the host's fault, and no riddle
            answer = (describe(error), EXIT_FAILED, None)
        with open(writer, "wb") as pipe:
            pipe.write(marshal.dumps(answer))
    except BaseException:
        streams.say_traceback()
    finally:
        os._exit(0)

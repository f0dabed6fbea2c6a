# SPDX-License-Identifier: GPL-2.0-only
"""Do something in a child process, so that what it takes to do it does not stay in memory.

The runner lives on a host that it drives out of memory, and counts that memory: what it needs for a
moment only (psutil, zip files, OpenSSL's digests) would be a part of every figure.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from .errors import RunnerError

Value = TypeVar("Value")


def call(function: Callable[[], Value]) -> Value:
    """Return what function returns in a child: numbers, text, bytes, and lists and dicts of them.

    A RunnerError of the function is raised here with its message and exit code; whatever else it
    raises is one too, after the traceback on stderr.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(function, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    if not data:
        raise RunnerError(f"a child process died in {function.__qualname__}")
    message, exit_code, value = marshal.loads(data)  # noqa: S302 (our own child's)
    if message is not None:
        error = RunnerError(message)
        error.exit_code = exit_code
        raise error
    answer: Value = value
    return answer


def _answer(function: Callable[[], object], writer: int) -> NoReturn:
    """Be the child: whatever happens, the process ends in here."""
    try:
        try:
            answer: tuple[str | None, int, Any] = (None, 0, function())
        except RunnerError as error:
            answer = (str(error), error.exit_code, None)
        with open(writer, "wb") as pipe:
            pipe.write(marshal.dumps(answer))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(0)

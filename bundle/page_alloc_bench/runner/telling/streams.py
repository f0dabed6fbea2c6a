# SPDX-License-Identifier: GPL-2.0-only
"""Stdout and stderr: whatever is written goes out at once, and what is not taken is told.

Nothing of it stays in a buffer until Python ends, which would fail then, with an exit code of
Python's own (120) and "Exception ignored".
"""

from __future__ import annotations

import errno
import os

from page_alloc_bench.runner.errors import RunnerError, UsageError

_PREFIX = "page-alloc-bench: "
_GONE = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a terminal that was hung up


def tell(text: str) -> None:
    """Write text, and a line end, to stdout.

    Raises UsageError if that is closed, RunnerError if it does not take all.
    """
    try:
        write(1, encoded(f"{text}\n"))
    except OSError as error:
        if error.errno == errno.EBADF:  # launch.py and main() open /dev/null for reading then
            raise UsageError("stdout is closed, and what was asked for goes there") from error
        raise RunnerError(f"cannot write to stdout: {error.strerror}") from error


def say(text: str) -> None:
    """Write a message of one line to stderr, if anybody takes it."""
    try:
        write(2, encoded(f"{_PREFIX}{text}\n"))
    except OSError:
        return  # there is no other place to say so


def say_traceback() -> None:
    """Write the traceback of the exception that is being handled to stderr, if anybody takes it."""
    import traceback

    try:
        write(2, encoded(traceback.format_exc()))
    except OSError:
        return


def write(fd: int, data: bytes) -> None:
    """Write all of data, however long that takes. Raises OSError."""
    while data:
        data = data[_write_some(fd, data) :]


def _write_some(fd: int, data: bytes) -> int:
    """Write what fits; return how much. Waits where the starter has made fd non-blocking."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        import select  # like fcntl, not for free

        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        poller.poll()
        return 0


def encoded(text: str) -> bytes:
    """Return text as bytes, the names of files as they are."""
    return text.encode("utf-8", "surrogateescape")


def has_gone(error: OSError) -> bool:
    """Return whether a write failed because nobody is there to read; else it may work again."""
    return error.errno in _GONE


def is_writable(fd: int) -> bool:
    """Return whether a descriptor is open for writing.

    launch.py and main() put a read-only /dev/null in place of a standard stream that is closed.
    """
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY

# SPDX-License-Identifier: GPL-2.0-only
"""How every command ends: what it says last, and its exit code.

A command returns, or raises what is wrong, or sys.exit(n); all else is decided here. Output that
cannot be written is 3, whatever the command found out: nobody was told. For a reader that went
away, and for a signal, it is 128 + the signal, as for any program that a signal ends. What nobody
foresaw comes with the traceback that a report of it needs.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import traceback
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, TextIO

import click

from page_alloc_bench import outputs
from page_alloc_bench.cli.common import Codes, complain

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks the command to end; no Exception, so that no handler of those takes it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _Silent(outputs.Writer):
    """Stderr, whose loss changes no exit code."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except outputs.OutputError:
            return len(memoryview(data))


def run(main: Callable[[], object]) -> None:
    """Run the command line of this process, which main takes, to its end."""
    streams = _own_streams()
    if not os.environ.get("COLUMNS", "1").strip("0"):
        del os.environ["COLUMNS"]  # 0 is not known, and a library would print nothing
    came = _raise_signals()
    code: int | str | None = None
    try:
        main()
    except SystemExit as end:
        code = end.code
    except Interrupted as interrupted:
        code = 128 + interrupted.signum
    if came:  # also where a library took it for what is wrong with an import, by "except:"
        code = 128 + came[0]
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for stream in streams:  # no reader that has stopped reading holds it back
            stream.hurry()
    sys.exit(code)


def status(command: Callable[[], Any], codes: Callable[[], Codes]) -> int:
    """Call command, say what it complains of, and return its exit code.

    codes: asked when something is wrong, for those of the subcommand. Raises Interrupted.
    """
    try:
        return _told(command, codes)
    except outputs.OutputError as error:
        with contextlib.suppress(outputs.OutputError):
            sys.stdout.flush()
        if error.reader_left:
            return 128 + signal.SIGPIPE
        complain(error.message)
        return codes().usage if error.exit_code == outputs.WRONG else error.exit_code


def _told(command: Callable[[], Any], codes: Callable[[], Codes]) -> int:
    """Call command, and see to it that all it has printed is written. Raises OutputError."""
    code = 0
    try:
        returned = command()  # of --help and its like, click returns the exit code
        code = returned if isinstance(returned, int) else 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except click.Abort:
        raise Interrupted(signal.SIGINT) from None
    except click.UsageError as error:
        named = error.ctx.command_path if error.ctx else "page-alloc-bench"
        complain(error.format_message(), f"{named} --help")
        code = codes().usage
    except click.ClickException as error:
        complain(error.format_message(), getattr(error, "advice", ""))
        own = codes()
        code = {1: own.failed, 2: own.usage}.get(error.exit_code, error.exit_code)
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else _of_what(error)
        complain(f"{name}{error.strerror or error}")
        code = codes().failed
    except MemoryError:
        complain("there is not enough memory for this")
        code = codes().failed
    except outputs.OutputError:
        raise
    except Exception as error:
        traceback.print_exc()
        complain(
            f"internal error: {type(error).__name__}: {error}", "report it, with what is above"
        )
        code = codes().failed
    sys.stdout.flush()
    return code


def _of_what(error: OSError) -> str:
    """Return what an error that names no file is of, as far as that is known."""
    gone = error.errno == errno.ENOENT and outputs.no_current_directory()
    return "the current directory was removed: " if gone else ""


def _own_streams() -> tuple[outputs.Writer, outputs.Writer]:
    """Make stdout and stderr what this module says of them, be they closed, and return both."""
    closed = sys.stdout is None
    # A file of ours must not get the number of a stream that is closed.
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
        continue
    os.close(descriptor)
    encoding = None if closed else sys.stdout.encoding
    stdout = outputs.Writer(1, "stdout", closefd=False)
    stderr = _Silent(2, "stderr", closefd=False)
    sys.stdout = _text(stdout, encoding)
    sys.stderr = _text(stderr, encoding, line_buffering=True)
    return stdout, stderr


def _text(raw: io.FileIO, encoding: str | None, *, line_buffering: bool = False) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors=outputs.ENCODE_ANYHOW,
        line_buffering=line_buffering or raw.isatty(),
    )


def _raise_signals() -> list[int]:
    """Turn the signals that ask a process to end into Interrupted, but for those it ignores.

    What is cleaned up after one is not cut short by the next: as long as an Interrupted is on its
    way, no other is raised. One that a library has swallowed is gone, and the next is raised again.
    Returns a list, which gets the numbers of those that were raised.
    """
    came: list[int] = []
    on_its_way: list[weakref.ref[Interrupted]] = []

    def handler(signum: int, _frame: FrameType | None) -> None:
        if on_its_way and on_its_way[-1]() is not None:
            return
        interrupted = Interrupted(signum)
        came.append(signum)
        on_its_way.append(weakref.ref(interrupted))
        try:
            raise interrupted
        finally:
            del interrupted  # or it would live as long as its traceback, which has this frame

    taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, handler)
    return came

# SPDX-License-Identifier: GPL-2.0-only
"""Tell people on stderr what the run does."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from page_alloc_bench.runner.errors import NobodyListens
from page_alloc_bench.runner.measuring.estimate import Forecast, duration
from page_alloc_bench.runner.options import PROGRAM
from page_alloc_bench.runner.result import columns, units

from . import streams

PATIENCE_S = 10.0  # with a stderr that takes nothing
UPDATE_S = 0.25  # of the line on a terminal, and of what is told
_LINE_S = 60.0  # of lines within a phase where there is no terminal
_ERASE_LINE = "\r\x1b[K"
_GRAVE = (f"{PROGRAM}: warning: ".encode(), f"{PROGRAM}: error: ".encode())


class Reporter:
    """Messages, and a line of progress that a terminal sees updated.

    Without a terminal each phase gets a line when it begins, another when it ends, and one a minute
    in between. Only progress raises NobodyListens; messages to a stream that nobody reads any more
    are dropped, so that they can be given while cleaning up.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        tell: Callable[[dict[str, Any]], object] | None = None,
        unread: bool = False,
    ) -> None:
        """tell: called with the progress, a run_directory.State. unread: nobody reads stderr."""
        quiet = quiet or not streams.is_writable(2)  # closed: the caller wants to hear nothing
        self._quiet = quiet
        self._verbose = verbose
        self._terminal = os.isatty(2) and not quiet
        self._line_shown = False
        self._updated = 0.0
        self._said = 0.0
        self._start = time.monotonic()
        self.told: list[str] = []  # warnings
        self._phase = ""
        self._tell = tell
        self._streams = _Streams(stderr=not quiet and not unread)
        self._passed_on = b""
        self._stuck = False  # nobody reads what we write
        self._forecast: Forecast | None = None

    def expect(self, forecast: Forecast) -> None:
        """Say from now on how much there is yet to do."""
        self._forecast = forecast

    def watch_stdout(self, *, needed: bool) -> None:
        """Have progress raise NobodyListens if stdout is needed and has no reader any more."""
        if needed:
            self._streams.watch(1, "stdout")

    def phase(self, text: str, name: str = "", order: int = 0) -> None:
        """Begin a phase, such as "order 0, idle"; name, order: what the forecast calls it.

        Raises nothing: the phase may be one that saves what there is, since nobody listens.
        """
        self._phase = text
        self._updated = 0.0
        if self._forecast is not None:
            self._forecast.begin(name, order)
        self._tell_all("")
        if self._terminal:
            self._update("", "")
        elif not self._quiet:
            number = f"phase {self._number()}" if self._forecast else ""
            told = ", ".join(filter(None, (number, self._left())))
            self._say(f"{text} ({told})" if told else text)

    def tick(self, text: str = "", size_bytes: int | None = None) -> None:
        """Show how far the phase has come; cheap enough to be called many times a second.

        size_bytes: what the child has; 0 begins a fill.
        """
        self._streams.check()
        if size_bytes is not None and self._forecast is not None:
            self._forecast.filling(size_bytes)
        if time.monotonic() - self._updated < UPDATE_S:
            return
        self._updated = time.monotonic()
        size = "" if size_bytes is None else self._filled(size_bytes)
        self._tell_all(f"{text.lstrip(', ')}{size}")
        if self._terminal:
            self._update(text, size)
        elif not self._quiet and self._updated - self._said >= _LINE_S:
            self._say(", ".join(filter(None, (f"{self._phase}{text}{size}", self._left()))))

    def finished(self, text: str, *, last: bool = True) -> None:
        """Report one finished step of the phase, such as an iteration with its value.

        last: whether the phase ends with it.
        """
        if self._forecast is not None:
            self._forecast.filled()
        self._tell_all(text.lstrip(", "))
        if self._quiet:
            return
        if self._terminal:
            self._print(f"{self._elapsed()} {self._phase}{text}")
        elif last or time.monotonic() - self._said >= _LINE_S:
            self._say(f"{self._phase}{text}")

    def clear_line(self) -> None:
        """Take the line of progress away, so that something else can write to the terminal."""
        if self._line_shown:
            self._line_shown = False
            self._write(_ERASE_LINE)

    def note(self, text: str) -> None:
        """Say what matters to somebody who asked for more."""
        if self._verbose:
            self._message(f"{PROGRAM}: {text}")

    def hint(self, text: str) -> None:
        """Say something useful that is not a problem."""
        if not self._quiet:
            self._message(f"{PROGRAM}: {text}")

    def warning(self, text: str) -> None:
        """Say what makes the result or the host less than it should be."""
        self.told.append(text)
        self._message(f"{PROGRAM}: warning: {text}")

    def error(self, text: str) -> None:
        """Say why the run did not succeed."""
        self._message(f"{PROGRAM}: error: {text}")

    def table(self, text: str) -> None:
        """Print the summary."""
        if not self._quiet:
            self._print(text)

    def pass_on(self, data: bytes) -> None:
        """Show what another reporter wrote, in pieces; quiet: only its warnings and errors."""
        if not self._quiet:
            self._write_bytes(data)
            return
        *lines, self._passed_on = (self._passed_on + data).split(b"\n")
        for line in lines:
            if line.startswith(_GRAVE):
                self._write_bytes(line + b"\n")

    def check_readers(self) -> None:
        """Raise NobodyListens if a stream that is needed has no reader any more."""
        self._streams.check()

    def _elapsed(self) -> str:
        return f"[{time.monotonic() - self._start:7.1f} s]"

    def _tell_all(self, progress: str) -> None:
        """Tell how far the run is to the one that asks."""
        if self._tell is None:
            return
        told: dict[str, Any] = {"phase": self._phase, "progress": progress}
        forecast = self._forecast
        if forecast is not None:
            left = forecast.left_s()
            told["phase_number"], told["phases"] = forecast.number, forecast.count
            told["filled"] = None if forecast.part is None else round(forecast.part, 3)
            told["left_s"] = None if left is None else round(left, 1)
        self._tell(told)

    def _filled(self, size_bytes: int) -> str:
        """Return how full the memory is."""
        part = None if self._forecast is None else self._forecast.part
        if part is None:
            return f": {units.size(size_bytes)}"
        return f": {part:.0%}"

    def _number(self) -> str:
        assert self._forecast is not None
        return f"{self._forecast.number} of {self._forecast.count}"

    def _left(self) -> str:
        """Return how long the run has yet to go, "" where that is not known."""
        left = None if self._forecast is None else self._forecast.left_s()
        return "" if left is None else f"{duration(left)} left"

    def _say(self, text: str) -> None:
        """Print a line of progress where there is no terminal."""
        self._said = time.monotonic()
        self._print(f"{self._elapsed()} {text}")

    def _update(self, text: str, size: str) -> None:
        """Draw the line again: all of it if it fits, or else what matters most."""
        self._updated = time.monotonic()
        left, room = self._left(), _columns() - 1
        number = f"{self._number()}: " if self._forecast else ""
        tail = f", {left}" if left else ""
        body = f"{self._phase}{text}{size}{tail}"
        for line in (f"{self._elapsed()} {number}{body}", f"{number}{body}", body):
            if len(line) <= room:
                break
        self._write(_ERASE_LINE + line[:room])
        self._line_shown = True

    def _message(self, text: str) -> None:
        """Print a message: in one line, which is easy to search for, where there is no terminal."""
        self._print("\n".join(columns.wrap(text, columns.of(2), "  ")) if self._terminal else text)

    def _print(self, text: str) -> None:
        erase = _ERASE_LINE if self._line_shown else ""
        self._line_shown = False
        self._write(f"{erase}{text}\n")

    def _write(self, text: str) -> None:
        self._write_bytes(streams.encoded(text))

    def _write_bytes(self, data: bytes) -> None:
        """Write to stderr in pieces that a pipe with any room takes at once (man 7 pipe).

        Nothing waits long for it: a terminal that does not read, as after Ctrl-S, must not
        keep a host from being cleaned. What cannot be written after a while is dropped, and so is
        what follows, until there is room again.
        """
        if self._streams.stderr_gone:
            return
        poller = select.poll()
        poller.register(2, select.POLLOUT)
        try:
            while data:
                self._stuck = not poller.poll(0 if self._stuck else PATIENCE_S * 1000)
                if self._stuck:
                    return
                with suppress(BlockingIOError):  # the starter may have made it non-blocking
                    data = data[os.write(2, data[: select.PIPE_BUF]) :]
        except OSError as error:  # a full disk may have room again, and the run is not its log
            self._streams.stderr_gone = streams.has_gone(error)


class _Streams:
    """Notice that the readers of our pipes have gone, without writing to them."""

    def __init__(self, *, stderr: bool) -> None:
        self.stderr_gone = False
        self._names: dict[int, str] = {}
        self._poll = select.poll()
        if stderr:
            self.watch(2, "stderr")

    def watch(self, fd: int, name: str) -> None:
        """Look at this stream too."""
        self._names[fd] = name
        self._poll.register(fd, 0)  # POLLERR and POLLHUP are always reported

    def check(self) -> None:
        """Raise NobodyListens once a stream that is needed has no reader."""
        if self.stderr_gone and 2 in self._names:
            raise NobodyListens("stderr")
        for fd, event in self._poll.poll(0):
            if event & (select.POLLERR | select.POLLHUP):
                self.stderr_gone |= fd == 2
                raise NobodyListens(self._names[fd])


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80

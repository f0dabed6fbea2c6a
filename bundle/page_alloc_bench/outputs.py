# SPDX-License-Identifier: GPL-2.0-only
"""What a command writes: the files that its options name, and stdout. All of it goes through here.

A regular file appears under its name when it is complete, and not before. Anything else is opened
and written: a device, a pipe, a descriptor. A symbolic link is followed.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import re
import select
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO, cast

FAILED, WRONG = 3, 2
# For encode() and streams: no character of a file's name or of a result stops the output.
ENCODE_ANYHOW = "page-alloc-bench"
_DESCRIPTORS = {"-": 1, "/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/([0-9]+)")
_MOST_LINKS = 40  # as many as the kernel follows
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)

_inputs: set[str] = set()


class OutputError(Exception):
    """Something cannot be written.

    ``message``: what, and why, in one line. ``exit_code``: of a command that ends with it: 3 if the
    work had begun, else 2, for then it is the option that is wrong. ``reader_left``: whether it was
    a pipe that nobody reads any more.
    """

    def __init__(self, message: str, *, begun: bool = True, reader_left: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = FAILED if begun else WRONG
        self.reader_left = reader_left


class Writer(io.FileIO):
    """A descriptor whose failure is an OutputError, once: what comes after it is dropped.

    So the interpreter, which flushes at its exit, has nothing to add to what has been told.
    """

    def __init__(self, descriptor: int, name: str, *, closefd: bool) -> None:
        super().__init__(descriptor, "wb", closefd=closefd)
        self._name = name
        self._failed = self._hurries = False

    def hurry(self) -> None:
        """From now on write only what need not wait for a reader, and drop the rest."""
        self._hurries = True

    def write(self, data: Any) -> int:
        """Write some of data and return how much."""
        if self._failed or (self._hurries and not _takes_some(self.fileno())):
            return len(memoryview(data))
        if self._hurries:
            data = memoryview(data)[: select.PIPE_BUF]
        try:
            return _write_some(self.fileno(), data)
        except OSError as error:
            self._failed = True
            raise OutputError(
                f"cannot write to {self._name}: {error.strerror}",
                reader_left=error.errno == errno.EPIPE,
            ) from error


class OutputFile:
    """A file that an option names, as a context: proven writable at once, written when it ends.

    ``stream`` takes the bytes. A regular file gets its name when the body ends without an
    exception, and is never seen before: until then it has no name at all where the file system can
    do that, so that not even SIGKILL leaves anything, and else a hidden one. Its mode is what the
    umask allows.

    Raises OutputError.
    """

    stream: BinaryIO

    def __init__(self, path: Path, *, executable: bool = False, synced: bool = True) -> None:
        """path: ``-`` is stdout. executable: make it so for everybody who may read it.

        synced: have it on the disk before it gets its name; who writes thousands of files does
        without, and calls os.sync() at their end.
        """
        self._path = path
        self._synced = synced
        self._mode = 0o777 if executable else 0o666  # less the umask, which the kernel applies
        self._directory = -1
        self._name = self._hidden = ""
        self._is_stdout = False
        try:
            self._open()
        except OSError as error:
            self._close()
            raise OutputError(_cannot(path, error), begun=False) from error

    def __enter__(self) -> BinaryIO:
        return self.stream

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if error is None:
            self.commit()
        else:
            self.discard()

    def commit(self) -> None:
        """Write what is buffered, and give the file its name."""
        try:
            self.stream.flush()
            if self._name:
                self._refuse_an_input(begun=True)
                self._finish()
        except OSError as error:
            raise OutputError(_cannot(self._path, error)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget what was written to a file; what went elsewhere is gone."""
        if self._hidden:
            with contextlib.suppress(OSError):
                os.unlink(self._hidden, dir_fd=self._directory)
            self._hidden = ""
        self._close()

    def _open(self) -> None:
        number = _descriptor(self._path)
        try:
            old = os.stat(self._path) if number is None else None
        except FileNotFoundError:
            old = None
        if number == 1 or _is_open_as_stdout(old):
            if sys.stdout is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._is_stdout = True
            sys.stdout.flush()
            self.stream = sys.stdout.buffer
            return
        if number is not None:
            self._take(os.dup(number))
            return
        if old is None or stat.S_ISREG(old.st_mode):
            self._open_regular(exists=old is not None)
        elif stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        else:
            # With O_CREAT the kernel refuses a stranger's pipe in /tmp (fs.protected_fifos).
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC
            self._take(os.open(self._path, flags, 0o666))

    def _open_regular(self, *, exists: bool) -> None:
        """Make the file that gets the name later, in the directory where it will have it."""
        self._refuse_an_input(begun=False)
        if exists:
            # Whoever may not write a file, or not through this link, does not replace it either.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CLOEXEC))
        directory, name = os.path.split(os.path.realpath(self._path))
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self._take(os.open(".", flags | os.O_TMPFILE, self._mode, dir_fd=self._directory))
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
        if not hasattr(self, "stream") or not os.path.exists(self._unnamed):
            self._close_stream()
            hidden = _hidden_name()
            flags |= os.O_CREAT | os.O_EXCL
            descriptor = os.open(hidden, flags, self._mode, dir_fd=self._directory)
            self._hidden = hidden
            self._take(descriptor)
        self._name = name

    def _refuse_an_input(self, *, begun: bool) -> None:
        if os.path.realpath(self._path) in _inputs:
            what = f"cannot write {self._path}: this command reads it; give another name"
            raise OutputError(what, begun=begun)

    @property
    def _unnamed(self) -> str:
        return f"/proc/self/fd/{self.stream.fileno()}"

    def _take(self, descriptor: int) -> None:
        self._writer = Writer(descriptor, str(self._path), closefd=True)
        self.stream = cast(BinaryIO, io.BufferedWriter(self._writer))

    def _finish(self) -> None:
        descriptor = self.stream.fileno()
        if self._synced:
            os.fsync(descriptor)
        if not self._hidden:
            try:
                os.link(self._unnamed, self._name, dst_dir_fd=self._directory)
                return
            except FileExistsError:  # no call gives an unnamed file the name of another
                self._hidden = _hidden_name()
                os.link(self._unnamed, self._hidden, dst_dir_fd=self._directory)
        os.rename(self._hidden, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._hidden = ""

    def _close(self) -> None:
        self._close_stream()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _close_stream(self) -> None:
        if hasattr(self, "stream") and not self._is_stdout:
            self._writer.hurry()  # what is not written by now is not wanted
            with contextlib.suppress(OutputError, OSError):
                self.stream.close()


@contextlib.contextmanager
def text_of(stream: BinaryIO) -> Iterator[TextIO]:
    """Yield a text stream over stream, which stays open."""
    text = io.TextIOWrapper(stream, encoding="utf-8", errors=ENCODE_ANYHOW, write_through=True)
    try:
        yield text
        text.flush()
    except BaseException:
        if isinstance(raw := getattr(stream, "raw", None), Writer):
            raw.hurry()  # detach() flushes
        raise
    finally:
        text.detach()


def encoded(text: str) -> bytes:
    """Return text as UTF-8."""
    return text.encode("utf-8", ENCODE_ANYHOW)


def write(path: Path, data: bytes, *, executable: bool = False, synced: bool = True) -> None:
    """Write data to path, as OutputFile does. Raises OutputError."""
    with OutputFile(path, executable=executable, synced=synced) as stream:
        stream.write(data)


def check(path: Path) -> None:
    """Raise OutputError where OutputFile would; a pipe stays closed, and its reader waiting."""
    if not _is_special(path):
        OutputFile(path).discard()


def check_directory(path: Path) -> None:
    """Raise OutputError where nothing could be written below path, which need not be there yet."""
    there = path
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is not a directory")
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise OutputError(_cannot(path, error), begun=False) from error


def no_current_directory() -> bool:
    """Return whether the current directory was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def protect(path: Path) -> None:
    """Have no file that this process writes take the place of one that it reads."""
    _inputs.add(os.path.realpath(path))


def is_stdout(path: Path | None) -> bool:
    """Return whether path, which an option names, is stdout."""
    return path is not None and _descriptor(path) == 1


def refuse_twins(paths: Iterable[Path | None]) -> None:
    """Raise OutputError if two options name one file, or stdout: one would end up in the other."""
    seen: set[object] = set()
    for path in filter(None, paths):
        place = _descriptor(path)
        if place is None and _is_special(path):
            continue
        known = os.path.realpath(path) if place is None else place
        if known in seen:
            raise OutputError(f"two options name {path} to write to", begun=False)
        seen.add(known)


def _takes_some(descriptor: int) -> bool:
    """Return whether so much as PIPE_BUF bytes can be written, or an error had, at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _write_some(descriptor: int, data: Any) -> int:
    """Write some of data; wait where another process has made the descriptor one that does not."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return os.write(descriptor, data)
        select.select([], [descriptor], [])


def _descriptor(path: Path) -> int | None:
    """Return the number of the descriptor that path leads to; to open it would cut a file."""
    for _ in range(_MOST_LINKS):
        text = str(path)
        found = _NUMBERED.fullmatch(text)
        number = int(found[1]) if found else _DESCRIPTORS.get(text)
        if number is not None or not os.path.islink(path):
            return number
        path = path.parent / os.readlink(path)
    return None


def _encode_anyhow(error: UnicodeError) -> tuple[bytes, int]:
    """Write the bytes that a file's name had, and what the encoding lacks as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written = b""
    for character in error.object[error.start : error.end]:
        number = ord(character)
        escaped = 0xDC80 <= number <= 0xDCFF  # as os.fsdecode() has them
        written += (
            bytes([number - 0xDC00]) if escaped else character.encode("ascii", "backslashreplace")
        )
    return written, error.end


def _is_open_as_stdout(file: os.stat_result | None) -> bool:
    """Return whether a regular file is where stdout goes: a name that leads to /dev/stdout does."""
    try:
        return (
            file is not None and stat.S_ISREG(file.st_mode) and os.path.samestat(file, os.fstat(1))
        )
    except OSError:
        return False


def _is_special(path: Path) -> bool:
    """Return whether path is there and is opened rather than replaced: a device, a pipe."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _hidden_name() -> str:
    return f".page-alloc-bench.{os.urandom(6).hex()}"


def _cannot(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT and not path.is_absolute() and no_current_directory():
        return f"the current directory was removed: {error.strerror}"
    return f"cannot write {path}: {error.strerror}"


codecs.register_error(ENCODE_ANYHOW, _encode_anyhow)

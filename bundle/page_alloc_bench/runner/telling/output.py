# SPDX-License-Identifier: GPL-2.0-only
"""Where the result goes: proven writable before anything is measured."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from page_alloc_bench.runner.errors import RunnerError, UsageError
from page_alloc_bench.runner.lifetime import safe_paths
from page_alloc_bench.runner.options import PROGRAM

from .streams import is_writable

STUCK_MS = 1000
STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
NOWHERE = "none"  # a file of that name is ./none


class Output:
    """The one place that the result is written to.

    kept_as: the name that the result was given because nobody had said where it goes; "" otherwise.
    """

    to_stdout = False
    wanted = True
    kept_as = ""

    def write(self, chunks: Iterable[str], while_stuck: Callable[[], object]) -> None:
        """Write the whole result. Raises RunnerError if not all of it could be.

        while_stuck is called about once a second while nobody takes what is written; it may raise.
        """
        raise NotImplementedError

    def keep_so_far(self, chunks: Iterable[str]) -> None:
        """Keep what there is of the result, where it could outlive us. Raises RunnerError."""

    def discard(self) -> None:
        """Leave nothing behind but what has been written or kept."""


class NoOutput(Output):
    """The result has nowhere to go: nobody wants it, or what would take it is a terminal."""

    wanted = False

    def write(self, chunks: Iterable[str], while_stuck: Callable[[], object]) -> None:
        """Write nothing."""


class DescriptorOutput(Output):
    """Stdout, a pipe or a device."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self.to_stdout = fd == 1

    def write(self, chunks: Iterable[str], while_stuck: Callable[[], object]) -> None:
        """Write to the descriptor."""
        try:
            for chunk in chunks:
                _write_to_reader(self._fd, chunk.encode(), while_stuck)
        except OSError as error:
            raise RunnerError(
                f"cannot write the result to {self._name}: {error.strerror}"
            ) from error

    def discard(self) -> None:
        """Close what was opened for this."""
        if self._fd > 2:
            os.close(self._fd)
            self._fd = -1


class FileOutput(Output):
    """A file that appears under its name only when it is whole: a valid document at any time.

    Until then it has a random name in the same directory, made exclusively, so that no link that
    a stranger put there is followed; the rename replaces such a link. The directory is opened
    once, over no stranger's link, and everything is done in it.
    """

    def __init__(self, path: str, expect: Callable[[str], object]) -> None:
        """expect: called with the path of the temporary file before it is made.

        Raises UsageError where no file can be made.
        """
        self._path = path
        directory, self._name = os.path.split(path)
        self._temporary = f".{self._name}.{os.urandom(6).hex()}"
        self.temporary = os.path.join(directory, self._temporary)
        try:
            self._directory = safe_paths.open_directory(directory)
        except OSError as error:
            raise _unwritable(path, error) from error
        expect(self.temporary)
        self._fd = -1
        try:
            self._make()
        except OSError as error:
            os.close(self._directory)
            raise _unwritable(path, error) from error

    def _make(self) -> None:
        """Make the temporary file. Raises OSError."""
        self._fd = os.open(
            self._temporary,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            0o644,
            dir_fd=self._directory,
        )

    def write(self, chunks: Iterable[str], while_stuck: Callable[[], object]) -> None:  # noqa: ARG002
        """Write the file, and give it its name once it is safe on disk."""
        try:
            self._place(chunks)
        except OSError as error:
            raise RunnerError(f"cannot write {self._path}: {error.strerror}") from error
        os.close(self._directory)
        self._directory = -1

    def keep_so_far(self, chunks: Iterable[str]) -> None:
        """Write the file as write() does, and be ready to write it again."""
        try:
            self._place(chunks)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)  # gives the room back, where that is what there was not
            raise RunnerError(
                f"cannot keep in {self._path} what is measured so far: {error.strerror}"
            ) from error

    def _place(self, chunks: Iterable[str]) -> None:
        """Give the file its name once it is safe on disk. Raises OSError."""
        if self._fd < 0:
            self._make()
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self._fd, "w", encoding="utf-8", closefd=False) as stream:
            stream.writelines(chunks)
        os.fsync(self._fd)
        os.rename(
            self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory
        )
        os.close(self._fd)
        self._fd = -1
        os.fsync(self._directory)

    def discard(self) -> None:
        """Remove the temporary file unless it has become the result."""
        if self._fd >= 0:
            os.unlink(self._temporary, dir_fd=self._directory)
            os.close(self._fd)
            self._fd = -1
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


def open_output(
    path: str | None,
    expect: Callable[[str], object],
    *,
    stdout_taken: bool = False,
    keep: bool = False,
) -> Output:
    """Return where the result goes; expect is told of a temporary file before it is made.

    stdout_taken: something else is written to stdout. keep: what a terminal would take goes into
    a file in the current directory instead of nowhere. Raises UsageError if nothing can be written
    there.
    """
    if path == NOWHERE or (path is None and stdout_taken):
        return NoOutput()
    if path is None and os.isatty(1):
        return _open_kept(expect) if keep else NoOutput()
    if stdout_taken and path in STDOUT_NAMES:
        raise UsageError("--ktap takes stdout; --output-path must name another file")
    if path is None or path in STDOUT_NAMES:
        return _open_stdout()
    path = os.path.abspath(path)
    if "\n" in path:
        raise UsageError("--output-path must not contain a line break")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        return FileOutput(path, expect)
    return _open_special(path)


def _open_kept(expect: Callable[[str], object]) -> Output:
    """Return a new file in the current directory."""
    name = f"{PROGRAM}-{os.uname().release}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    try:
        out = FileOutput(os.path.abspath(name), expect)
    except (OSError, UsageError) as error:  # OSError: the directory has been removed
        cause = error.__cause__ if isinstance(error, UsageError) else error
        why = getattr(cause, "strerror", None) or error
        raise UsageError(
            f"no result can be kept in the current directory ({why}): name a file with "
            f"--output-path, or --output-path {NOWHERE} to keep none"
        ) from error
    out.kept_as = name
    return out


def _open_stdout() -> Output:
    if not is_writable(1):
        raise UsageError("stdout is closed; say where the result goes: --output-path")
    return DescriptorOutput(1, "stdout")


def _open_special(path: str) -> Output:
    """Open a pipe or a device; a pipe must have its reader, and not be a stranger's."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        raise _unwritable(path, error) from error
    if _is_planted(fd, os.path.dirname(path)):
        os.close(fd)
        raise UsageError(f"cannot write to --output-path={path}: another user has put it there")
    os.set_blocking(fd, True)
    return DescriptorOutput(fd, path)


def _is_planted(fd: int, directory: str) -> bool:
    """Return whether what was opened is a stranger's in a directory where everybody makes files.

    As fs.protected_fifos has it (Documentation/admin-guide/sysctl/fs.rst), for open() without
    O_CREAT too.
    """
    place, owner = os.stat(directory), os.fstat(fd).st_uid
    for_all = place.st_mode & stat.S_ISVTX and place.st_mode & 0o022
    return bool(for_all) and not safe_paths.is_ours(owner) and owner != place.st_uid


def _unwritable(path: str, error: OSError) -> UsageError:
    return UsageError(f"cannot write to --output-path={path}: {error.strerror}")


def _write_to_reader(fd: int, data: bytes, while_stuck: Callable[[], object]) -> None:
    """Write data in pieces that a pipe with any room takes without blocking (man 7 pipe)."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    while data:
        if poller.poll(STUCK_MS):
            data = data[os.write(fd, data[: select.PIPE_BUF]) :]
        else:
            while_stuck()

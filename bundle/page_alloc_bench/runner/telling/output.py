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
_STREAMS = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}  # without udev, /dev has no such names
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
    """Stdout, another descriptor of the starter's, a pipe or a device."""

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

    def __init__(
        self, path: str, directory: int, place: str, expect: Callable[[str], object]
    ) -> None:
        """directory, place: as find() returns them; the directory is closed by this.

        expect: called with the path of the temporary file before it is made.

        Raises UsageError where no file can be made.
        """
        self._path = path
        self._directory = directory
        above, self._name = os.path.split(place)
        self._temporary = f".{self._name}.{os.urandom(6).hex()}"
        expect(os.path.join(above, self._temporary))
        self._fd = -1
        try:
            self._make()
        except OSError as error:
            os.close(directory)
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
    path = path or "-"
    found, place, mode = find(path)
    if place:
        if stat.S_ISREG(mode):
            return FileOutput(path, found, place, expect)
        return _open_special(path, found, os.path.basename(place))
    if found == 1:
        if stdout_taken:
            raise UsageError("--ktap takes stdout; --output-path must name another file")
        path = "stdout"
    if not is_writable(found):
        raise UsageError(f"{path} is closed; say where the result goes: --output-path")
    return DescriptorOutput(found if found == 1 else os.dup(found), path)


def find(path: str) -> tuple[int, str, int]:
    """Return what a path stands for, as safe_paths.open_place() does. Raises UsageError."""
    if path in _STREAMS:
        return _STREAMS[path], "", 0
    try:
        found = safe_paths.open_place(os.path.abspath(path))
    except OSError as error:
        raise _unwritable(path, error) from error
    if "\n" in found[1]:
        raise UsageError("--output-path must not contain a line break")
    return found


def _open_kept(expect: Callable[[str], object]) -> Output:
    """Return a new file in the current directory."""
    name = f"{PROGRAM}-{os.uname().release}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    try:
        out = open_output(name, expect)
    except (OSError, UsageError) as error:  # OSError: the directory has been removed
        cause = error.__cause__ if isinstance(error, UsageError) else error
        why = getattr(cause, "strerror", None) or error
        raise UsageError(
            f"no result can be kept in the current directory ({why}): name a file with "
            f"--output-path, or --output-path {NOWHERE} to keep none"
        ) from error
    out.kept_as = name
    return out


def _open_special(path: str, directory: int, name: str) -> Output:
    """Open a pipe or a device; a pipe must have its reader, and not be a stranger's."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(name, flags | os.O_NONBLOCK, dir_fd=directory)
        if _is_planted(fd, directory):
            os.close(fd)
            raise OSError(0, "another user has put it there")
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        os.close(directory)
    os.set_blocking(fd, True)
    return DescriptorOutput(fd, path)


def _is_planted(fd: int, directory: int) -> bool:
    """Return whether what was opened is a stranger's in a directory where everybody makes files.

    As fs.protected_fifos has it (Documentation/admin-guide/sysctl/fs.rst), for open() without
    O_CREAT too.
    """
    place, owner = os.fstat(directory), os.fstat(fd).st_uid
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

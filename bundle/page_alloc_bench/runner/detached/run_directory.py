# SPDX-License-Identifier: GPL-2.0-only
"""The directory in which a detached run leaves its words and its result until they are fetched.

There is one on a host, in memory, and nobody but root can look into it. It holds

    log       what the run says on stderr
    result    what it would write to stdout
    state     one line of JSON: who it is, how far it is, how it ended

The run, its watchdog and whatever else it forks have the directory locked (flock(2)) for as long as
they live: once the lock is free, the run is over and the host is clean.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from contextlib import suppress
from typing import Any

from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.preflight import NOT_ROOT_TO_LOOK

NAME = "page-alloc-bench"
LOG, RESULT, STATE = "log", "result", "state"
# The first that serves, so that all find the same. Nobody but root can put anything into /run.
PARENTS = ("/run", "/dev/shm", "/tmp")  # noqa: S108 - a private directory, trusted only if root's
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC
_READ_TRIES, _READ_S = 100, 0.01
LOCK_S = 10.0


def require_root(otherwise: str = NOT_ROOT_TO_LOOK) -> None:
    """Raise HostUnfitError unless this process may look into the directory, and signal a run.

    otherwise: what it says.
    """
    if os.geteuid() != 0:
        raise HostUnfitError(otherwise)


class RunDirectory:
    """The directory, open: descriptor is its own, and stays valid when the name has gone."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._readers: dict[str, int] = {}

    @classmethod
    def find(cls) -> RunDirectory | None:
        """Return the one that is there, if a run has left any; close() it.

        Raises HostUnfitError if what is there is not root's alone, and OSError.
        """
        path = _path()
        try:
            descriptor = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:  # a link, too
            raise HostUnfitError(f"{path} is not a directory: remove it") from error
        if not _is_private(descriptor):
            os.close(descriptor)
            raise HostUnfitError(
                f"{path} is not only root's (mode 0700): look at it, and remove it"
            )
        return cls(path, descriptor)

    @classmethod
    def make(cls) -> RunDirectory:
        """Make it, with its files empty, and lock it for this process and what it forks.

        Raises FileExistsError if there is one, HostUnfitError and OSError.
        """
        path = _path()
        os.mkdir(path, 0o700)
        directory = cls(path, os.open(path, _DIRECTORY))
        fcntl.flock(directory.descriptor, fcntl.LOCK_EX)
        os.fchmod(directory.descriptor, 0o700)  # whatever the umask is
        try:
            for name in (STATE, LOG, RESULT):
                os.close(directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except OSError:
            directory.remove()
            directory.close()
            raise
        return directory

    def open(self, name: str, flags: int) -> int:
        """Return a descriptor of one of its files. Raises OSError."""
        return os.open(name, flags | _FILE, 0o600, dir_fd=self.descriptor)

    def reader(self, name: str) -> int:
        """Return a descriptor to read one of its files by, the same each time.

        It stays valid if the file is removed afterwards. Raises OSError.
        """
        if name not in self._readers:
            self._readers[name] = self.open(name, os.O_RDONLY)
        return self._readers[name]

    def close(self) -> None:
        """Let go of it. The lock stays with the processes that have it still open."""
        for descriptor in (self.descriptor, *self._readers.values()):
            os.close(descriptor)

    def is_over(self) -> bool:
        """Return whether the run and all that belongs to it has ended."""
        if not self._try_lock(fcntl.LOCK_SH):
            return False
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return True

    def remove(self) -> None:
        """Remove it once the run is over, unless somebody else has done so.

        Raises HostUnfitError if another process keeps it locked, and OSError.
        """
        self._lock()
        for name in os.listdir(self.descriptor):
            os.unlink(name, dir_fd=self.descriptor)
        # Nobody without the lock removes this very directory: no other takes its place meanwhile.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(self.path), os.fstat(self.descriptor)):
                os.rmdir(self.path)
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def _lock(self) -> None:
        """Lock it for this process alone. Raises HostUnfitError, and OSError."""
        deadline = time.monotonic() + LOCK_S
        while not self._try_lock(fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise HostUnfitError(
                    f"another process keeps {self.path} locked: see who (fuser {self.path})"
                )
            time.sleep(_READ_S)

    def _try_lock(self, kind: int) -> bool:
        """Lock it, LOCK_EX or LOCK_SH, unless another has locked it. Raises OSError."""
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class State:
    """What the run says of itself in the file; a run has one for writing, all others read.

    pid, start_ticks: of the run's process. started_at: UTC. started_s, ended_s: CLOCK_MONOTONIC.
    output_path: where the result goes, None: into the directory. begun: whether the module is
    loaded, after which no host is found unfit any more. phase, progress: how far it is.
    phase_number, phases: the same in numbers, from 1. filled: the part of the memory that the child
    has, from 0 to 1; None between fills. left_s: how long the run has yet to go; None: not known.
    written: whether the result is whole. exit_code: None until the end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.values: dict[str, Any] = {}

    def update(self, **values: Any) -> None:
        """Change what the file says. A file system that is full costs the news, not the run."""
        self.values.update(values)
        with suppress(OSError):
            self.write()

    def write(self) -> None:
        """Write the file. Raises OSError."""
        os.pwrite(self._descriptor, json.dumps(self.values).encode() + b"\n", 0)


def begin_state(descriptor: int, output_path: str | None) -> State:
    """Return the state of the run that this process is, begun now. Raises OSError."""
    state = State(descriptor)
    state.values = {
        "pid": os.getpid(),
        "start_ticks": procfs.start_ticks(os.getpid()),
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "started_s": time.monotonic(),
        "ended_s": None,
        "output_path": output_path,
        "begun": False,
        "phase": "start",
        "progress": "",
        "phase_number": None,
        "phases": None,
        "filled": None,
        "left_s": None,
        "written": False,
        "exit_code": None,
    }
    state.write()
    return state


def read_state(descriptor: int) -> dict[str, Any] | None:
    """Return what the run last said of itself, see State; None if it has said nothing."""
    for _ in range(_READ_TRIES):
        line, newline, _older = os.pread(descriptor, 1 << 16, 0).partition(b"\n")
        if not newline:
            break
        with suppress(ValueError):  # read while it was being written
            values: dict[str, Any] = json.loads(line)
            return values
        time.sleep(_READ_S)
    return None


def is_alive(values: dict[str, Any]) -> bool:
    """Return whether the very process that wrote this state is there."""
    return bool(procfs.start_ticks(values["pid"]) == values["start_ticks"])


def _path() -> str:
    """Return where the directory is, or would be. Raises HostUnfitError."""
    for parent in PARENTS:
        try:
            status = os.lstat(parent)
        except OSError:
            continue
        mode = status.st_mode
        safe = status.st_uid in (0, os.geteuid()) and (mode & stat.S_ISVTX or not mode & 0o022)
        if stat.S_ISDIR(mode) and safe:
            return os.path.join(parent, NAME)
    raise HostUnfitError(f"no place to keep a result in: none of {', '.join(PARENTS)} can be used")


def _is_private(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o700

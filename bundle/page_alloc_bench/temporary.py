# SPDX-License-Identifier: GPL-2.0-only
"""Directories for the time of a task, which go even after one that was killed.

A task that ends removes its own. What SIGKILL leaves, the next task beside it removes: each holds a
lock on its directory, which the kernel drops with the last process that has it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "page-alloc-bench-"
# Of a directory that was made here, and whose maker has had the lock.
_MARK = ".page-alloc-bench-temporary"
_locks: set[int] = set()


@contextmanager
def temporary_directory(parent: Path | str | None = None) -> Iterator[Path]:
    """Yield a private directory in PARENT (default: that of temporary files), removed afterwards.

    Raises OSError where it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name:
        made = Path(name).resolve()
        lock = os.open(made, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (made / _MARK).touch()
            _remove_stale(made.parent)
            _locks.add(lock)
            yield made
        finally:
            _locks.discard(lock)
            os.close(lock)


def locks() -> tuple[int, ...]:
    """Return the descriptors that a program has to inherit which works in such a directory.

    A compiler goes on for a while after its build was killed, and would make the directory anew.
    """
    return tuple(_locks)


def _remove_stale(parent: Path) -> None:
    for mark in parent.glob(f"{_PREFIX}*/{_MARK}"):
        _remove_if_stale(mark.parent)


def _remove_if_stale(left: Path) -> None:
    """Remove LEFT if it is this user's, and whoever made it has ended."""
    try:
        lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)

# SPDX-License-Identifier: GPL-2.0-only
"""Room on disks: asked for before much is written, and recognised where there was none."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
# In the words of libc, apt, dpkg, tar, xz, compilers, mmdebstrap and mke2fs.
_WORDS = re.compile(
    r"no space left|not enough (?:free )?(?:disk )?space|enough free space|disk quota exceeded"
    r"|disk full|file system is full|ENOSPC",
    re.IGNORECASE,
)
_NEARLY_FULL_MIB = 1
_LITTLE_MIB = 64


@dataclass(frozen=True)
class Room:
    """What is needed, or free, in a file system: MiB, and files (None for any number)."""

    mib: int
    files: int | None = None


def free(path: Path) -> Room:
    """Return what this user may still write below PATH, or where it would be made.

    Raises OSError.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    root = os.geteuid() == 0
    blocks = found.f_bfree if root else found.f_bavail
    # Some file systems (btrfs) have no table of files, and say 0.
    files = (found.f_ffree if root else found.f_favail) if found.f_files else None
    return Room(blocks * found.f_frsize >> 20, files)


def shortage(path: Path, needed: Room) -> str:
    """Return what PATH lacks of what is NEEDED, as the end of a sentence; "" if nothing."""
    there = free(path)
    if there.mib < needed.mib:
        return f"needs {needed.mib} MiB in {path}, which has {there.mib}"
    if needed.files is not None and there.files is not None and there.files < needed.files:
        return f"needs room for {needed.files} files in {path}, which has it for {there.files}"
    return ""


def ran_out(error: BaseException, places: Iterable[Path]) -> bool:
    """Return whether ERROR, or what it quotes, comes of a disk that is full: one of PLACES.

    What maps a file into memory (apt does) dies of SIGBUS on a full disk, and says nothing.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL
    text = str(error)
    if _WORDS.search(text):
        return True
    died = f"killed by signal {signal.SIGBUS.value}" in text
    return any(free(place).mib < _NEARLY_FULL_MIB for place in places) or died


def suspects(place: Path) -> list[Path]:
    """Return which of PLACE and the directory of temporary files have little room left; or both."""
    places = [place, Path(os.environ.get("TMPDIR") or "/tmp")]  # noqa: S108
    return [each for each in places if free(each).mib < _LITTLE_MIB] or places

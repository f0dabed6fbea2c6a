# SPDX-License-Identifier: GPL-2.0-only
"""Paths that root writes to, and strangers who would like to choose where they lead.

A stranger is a user who is neither root nor the one that this process runs as.
"""

from __future__ import annotations

import errno
import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40  # as many as the kernel follows: include/linux/namei.h, MAXSYMLINKS
_OURS = "/proc/self/fd"


class StrangersLinkError(OSError):
    """A path leads over a symbolic link that a stranger has made."""

    def __init__(self, link: str, uid: int) -> None:
        super().__init__(
            errno.ELOOP, f"{link} is a symbolic link of user {uid}: give the path it stands for"
        )


def is_ours(uid: int) -> bool:
    """Return whether a file's owner is not a stranger."""
    return uid in (0, os.geteuid())


def open_place(path: str) -> tuple[int, str, int]:
    """Return what an absolute path leads to over no stranger's link: (directory, path in it, mode).

    The directory is open. Where nothing is there yet, the mode is that of a regular file. For a
    descriptor of this process it is (descriptor, "", 0). Raises OSError.
    """
    walked = ""  # the path of the directory
    todo = [part for part in reversed(path.split("/")) if part]
    descriptor = os.open("/", _DIRECTORY)
    links = 0
    try:
        while True:
            part = todo.pop() if todo else "."
            here = f"{walked}/{part}"
            # Looked at and opened in one: what is between cannot be changed for something else.
            try:
                at = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            except FileNotFoundError:
                if todo:
                    raise
                return descriptor, here, stat.S_IFREG
            try:
                status = os.fstat(at)
                if stat.S_ISLNK(status.st_mode):
                    if not todo and os.path.samestat(os.fstat(descriptor), os.stat(_OURS)):
                        os.close(descriptor)
                        return int(part), "", 0
                    if not is_ours(status.st_uid):
                        raise StrangersLinkError(here, status.st_uid)
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    target = os.readlink("", dir_fd=at)
                    todo += [step for step in reversed(target.split("/")) if step]
                    here, start = ("", "/") if target.startswith("/") else (walked, ".")
                    inside = os.open(start, _DIRECTORY, dir_fd=descriptor)
                elif todo:
                    inside = os.open(".", _DIRECTORY, dir_fd=at)
                else:
                    return descriptor, here, status.st_mode
            finally:
                os.close(at)
            os.close(descriptor)
            descriptor, walked = inside, here
    except BaseException:
        os.close(descriptor)
        raise


def others_may_change(path: str) -> bool:
    """Return whether a stranger can have path, or a part of it, stand for something else.

    A directory where everybody may make files, and nobody may remove those of others is safe for
    a file with a name that nobody can guess: /tmp. launch.py and the stub have the same for the
    time before this can be imported.
    """
    path = os.path.realpath(path)
    while True:
        status = os.stat(path)
        loose = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if loose or not is_ours(status.st_uid):
            return True
        if path == "/":
            return False
        path = os.path.dirname(path)

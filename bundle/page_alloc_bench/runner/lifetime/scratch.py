# SPDX-License-Identifier: GPL-2.0-only
"""The private directory that the stub of the bundle made for this run."""

from __future__ import annotations

import os
import stat
import sys

from . import reap

VARIABLE = "PAGE_ALLOC_BENCH_SCRATCH"
KEEP_VARIABLE = "PAGE_ALLOC_BENCH_KEEP"
ALIVE_OPTION = "page_alloc_bench_alive"  # launch.py says what it is
NAME_PREFIX = "page-alloc-bench."


class Scratch:
    """The scratch directory, or none when the runner was not started by a bundle.

    path is None too where the directory is not one that the stub could have made: what root
    removes recursively must be root's alone, whatever the environment says.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.keep = False

    @classmethod
    def from_environment(cls) -> Scratch:
        """Return the directory that the environment names, if it can be trusted."""
        path = os.environ.get(VARIABLE)
        return cls(path if path and _is_private(path) else None)

    def keep_it(self) -> None:
        """Leave the directory where it is, and have the launcher of the bundle do so too."""
        self.keep = True
        os.environ[KEEP_VARIABLE] = "1"
        self.take_over()

    def take_over(self) -> None:
        """Dismiss the keeper that would remove the directory should this process be killed.

        From here on that is somebody else's business, or nobody's.
        """
        alive = str(sys._xoptions.pop(ALIVE_OPTION, ""))
        if alive:
            descriptor, _, child = alive.partition(":")
            try:
                with open(int(descriptor), "wb", buffering=0) as pipe:
                    pipe.write(b"bye\n")
            except BrokenPipeError:
                pass
            if child:
                reap.ended(int(child))

    def adopt(self) -> tuple[int, ...]:
        """Answer for the directory from here on, as a child of the process that did so far.

        The keeper is not a child of this process. Returns the descriptors to keep open for it.
        """
        descriptor = str(sys._xoptions.get(ALIVE_OPTION, "")).partition(":")[0]
        if not descriptor:
            return ()
        sys._xoptions[ALIVE_OPTION] = descriptor
        return (int(descriptor),)

    def remove(self) -> None:
        """Remove the directory and everything in it, unless it is to be kept.

        Nothing of the runner can be imported afterwards. Raises OSError.
        """
        if self.path and not self.keep:
            remove_tree(self.path)
            self.path = None


def remove_tree(path: str) -> None:
    """Remove a directory and everything in it; gone already is fine. Raises OSError."""
    import shutil

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise


def _is_private(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return (
        os.path.isabs(path)
        and os.path.basename(path).startswith(NAME_PREFIX)
        and stat.S_ISDIR(status.st_mode)
        and stat.S_IMODE(status.st_mode) == 0o700
        and status.st_uid == os.geteuid()
    )

# SPDX-License-Identifier: GPL-2.0-only
"""A directory, and a program, that go with the process that made them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench.targets import keeper
from page_alloc_bench.targets.process import TargetError

OUTPUT = keeper.OUTPUT
ELSEWHERE = "set TMPDIR to a directory that has room"
_LONGEST = 60  # characters: room is left for a socket's name, which has 108 bytes


def parent() -> Path:
    """Return the directory in which they are made. Raises TargetError where there is none."""
    try:
        place = Path(tempfile.gettempdir())
    except OSError as error:
        raise no_place(error) from error
    return place if len(str(place)) < _LONGEST else Path("/tmp")  # noqa: S108


def no_place(error: OSError) -> TargetError:
    """Return the error that says that a directory cannot be made."""
    return TargetError(f"no place for files: {error}; {ELSEWHERE}")


class Kept:
    """A directory that goes with the process that made it, however that ends (keeper.py).

    name: what it is for, a part of its name. ``path`` is there until remove(); a context manager
    removes it. Raises TargetError where it cannot be made.
    """

    def __init__(self, name: str) -> None:
        self.path = parent() / f"pab-{name}.{secrets.token_hex(4)}"
        # Isolated and without site-packages: the keeper is up in milliseconds.
        self.keeper: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            self.remove()
            raise no_place(error) from error

    def __enter__(self) -> Path:
        """Return the directory."""
        return self.path

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()

    def start(self, argv: Sequence[str]) -> None:
        """Have the keeper start ARGV, which ends with the directory, as all that it starts does.

        What it writes is in the directory's file OUTPUT.
        """
        words = b"".join(os.fsencode(word) + b"\0" for word in argv)
        assert self.keeper.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a keeper that was killed
            self.keeper.stdin.write(b"%d\n%b" % (len(words), words))
            self.keeper.stdin.flush()

    def remove(self) -> None:
        """End what runs, and remove the directory; a second time does nothing."""
        if self.keeper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.keeper.stdin.close()
        self.keeper.wait()
        shutil.rmtree(self.path, ignore_errors=True)

# SPDX-License-Identifier: GPL-2.0-only
"""The process that removes the scratch directory if the launcher of a bundle is killed.

launch.py forks it, and says what it is told. It runs from within the zip.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from . import title

_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP)


def keep(reader: int, say_ready: int, remove: Callable[[str], None]) -> None:
    """Be the keeper: no signal meant for the bundle reaches it, nobody waits for its streams.

    reader: the end of the pipe where the paths to remove are read, a NUL after each, and "bye" once
    there is nothing to remove any more. say_ready: where to say that no signal can harm.
    """
    try:  # noqa: SIM105 - contextlib takes long to import
        title.set_title("pab-keeper")
    except OSError:
        pass  # without /proc/self/mem it can be found by the bundle's words
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    os.chdir("/")
    os.write(say_ready, b".")
    os.dup2(reader, 0)
    os.closerange(1, 1 << 16)
    heard = b""
    while not heard.endswith(b"bye\n"):
        data = os.read(0, 4096)
        if not data:
            for path in heard.split(b"\0")[:-1]:
                remove(os.fsdecode(path))
            return
        heard += data

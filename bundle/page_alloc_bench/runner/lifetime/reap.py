# SPDX-License-Identifier: GPL-2.0-only
"""Wait for a child of ours to be gone, but not for ever: the one that waits may hold signals back.

A child may not end though it was killed or told to go: it may be stopped, or be in the kernel,
waiting for a disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

LIMIT_S = 10.0
_POLL_S = 0.01


def _still() -> None:
    """See nothing that moves."""


def ended(pid: int, limit_s: float | None = None, moving: Callable[[], object] = _still) -> bool:
    """Reap a child; return whether it has ended. One that somebody has reaped already has.

    limit_s: to wait while it goes on; None: LIMIT_S. moving: what shows by changing that it is on
    its way, so that the time begins again.
    """
    limit_s = LIMIT_S if limit_s is None else limit_s
    seen, since = moving(), time.monotonic()
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:  # also where SIGCHLD is ignored: the kernel has reaped it
            return True
        now, there = time.monotonic(), moving()
        if there != seen:
            seen, since = there, now
        if now - since >= limit_s:
            return False
        time.sleep(_POLL_S)

# SPDX-License-Identifier: GPL-2.0-only
"""The descriptors that a process was given and does not use."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress


def close_all_but(needed: Collection[int] = ()) -> None:
    """Close every other descriptor: whoever has the other end may wait for that, as sshd does."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in needed:
            with suppress(OSError):  # one is that of the directory just read
                os.close(int(name))

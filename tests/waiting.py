# SPDX-License-Identifier: GPL-2.0-only
"""Waiting in tests for what comes true by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 1800.0  # for a command in a guest that ends by itself, however busy the machine is


def eventually(
    condition: Callable[[], bool], seconds: float = 60, *, every_s: float = 0.02
) -> bool:
    """Return whether a condition, looked at every so often, comes true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def in_a_guest(condition: Callable[[], bool], seconds: float = 300) -> bool:
    """Return the same of something that a command in an emulated guest tells."""
    return eventually(condition, seconds, every_s=0.2)

# SPDX-License-Identifier: GPL-2.0-only
"""How far a run is that was not detached, for --status.

It stands in memory that has no name (memfd_create(2)): nobody but root can find it, no link can
stand in for it, and it goes with the run, however that ends. It has what the state of a detached
run has, see detached/run_directory.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import run_directory

_NAME = "page-alloc-bench-state"
_LISTED_AS = f"/memfd:{_NAME} (deleted)"  # in /proc/PID/fd


def publish(output_path: str | None) -> Callable[[dict[str, Any]], object] | None:
    """Return what is to be called with how far this run is; None where that can stand nowhere."""
    try:
        state = run_directory.begin_state(os.memfd_create(_NAME), output_path)
    except (AttributeError, OSError):  # a Python or a kernel without it
        return None
    return lambda values: state.update(**values)


def find(pid: int) -> dict[str, Any] | None:
    """Return what the run of that PID says of itself, or None if it says nothing.

    See run_directory.State for what it may say.
    """
    directory = f"/proc/{pid}/fd"
    try:
        for number in os.listdir(directory):
            if os.readlink(f"{directory}/{number}") == _LISTED_AS:
                return _read(f"{directory}/{number}")
    except OSError:
        return None  # it has just ended
    return None


def _read(path: str) -> dict[str, Any] | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return run_directory.read_state(descriptor)
    finally:
        os.close(descriptor)

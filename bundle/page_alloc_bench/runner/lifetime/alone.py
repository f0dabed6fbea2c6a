# SPDX-License-Identifier: GPL-2.0-only
"""Be a child that uses memory of its own: nothing of the parent's life is left to it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal

from . import descriptors

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def stand_alone(parent: int, name: str) -> None:
    """Cut every tie to the parent but one: the child dies with it.

    parent: its pid. name: of this process from now on, at most 15 characters.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # It died before it could be watched.
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    # The module's session among them: while a copy is open, closing it does not stop the workers.
    descriptors.close_all_but()
    reset_signals()
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    # No cycles are made here, and collecting would write to pages shared with the parent.
    gc.freeze()
    gc.disable()
    _lift_limit(resource.RLIMIT_AS)
    _lift_limit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def reset_signals() -> None:
    """Let signals do what they do by default; those of the terminal are the parent's business."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        terminal = number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
        with contextlib.suppress(OSError):  # The C library keeps a few for itself.
            signal.signal(number, signal.SIG_IGN if terminal else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _lift_limit(kind: int) -> None:
    """Set a resource limit as high as this user may: the machine is measured, not the shell."""
    hard = resource.getrlimit(kind)[1]
    for limit in (resource.RLIM_INFINITY, hard):
        try:
            resource.setrlimit(kind, (limit, limit))
        except (OSError, ValueError):
            continue
        return

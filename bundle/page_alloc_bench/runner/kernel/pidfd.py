# SPDX-License-Identifier: GPL-2.0-only
"""Hold on to a process by a descriptor, which never comes to mean another one as a number may.

Python has these calls only if it was built against headers that did.
"""

from __future__ import annotations

import os
import select
import signal

# The same on every architecture this runs on.
_SYS_PIDFD_SEND_SIGNAL = 424
_SYS_PIDFD_OPEN = 434


def open_pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when every thread of the process is gone.

    Raises OSError.
    """
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return _syscall("pidfd_open", _SYS_PIDFD_OPEN, pid, 0)


def send_signal(descriptor: int, signum: int) -> None:
    """Send a signal to the process. Raises OSError, ProcessLookupError if it has ended."""
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(descriptor, signum)
    else:
        _syscall("pidfd_send_signal", _SYS_PIDFD_SEND_SIGNAL, descriptor, signum, None, 0)


def ended(descriptor: int, timeout_s: float) -> bool:
    """Return whether the process has ended, waiting for it up to timeout_s."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _syscall(name: str, *arguments: int | None) -> int:
    import ctypes

    result = ctypes.CDLL(None, use_errno=True).syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)

# SPDX-License-Identifier: GPL-2.0-only
"""One copy at a time."""

from __future__ import annotations

import errno
import socket
import struct

from . import procfs
from .errors import HostUnfitError

# An abstract name: no file is left behind, and the kernel gives it up with its last holder.
_ADDRESS = "\0page-alloc-bench"
LISTED_AS = "@page-alloc-bench"  # in /proc/net/unix


def claim() -> socket.socket:
    """Return the socket that stands for being the only copy; keep it open for as long.

    A forked child holds the claim too. Raises HostUnfitError if somebody else has it.
    """
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claimed.bind(_ADDRESS)
        claimed.listen(1)
    except OSError as error:
        claimed.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise HostUnfitError(f"another copy{holder()} is running; wait for it to end") from error
    return claimed


def holder() -> str:
    """Return " (PID n, its command)" of who listens on our address, as far as can be known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(_ADDRESS)
            size = struct.calcsize("3i")  # struct ucred
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except OSError:
            return ""  # it has just gone, or its backlog is full
    pid, uid, _gid = struct.unpack("3i", credentials)
    alive = procfs.read_or_none(f"/proc/{pid}/comm")
    if alive is None:
        return f" (PID {pid}, killed, is still being cleaned up after)"
    return f" (PID {pid}, {alive}, of user {uid})" if uid else f" (PID {pid})"

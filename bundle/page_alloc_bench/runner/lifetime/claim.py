# SPDX-License-Identifier: GPL-2.0-only
"""One copy at a time."""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import procfs

# An abstract name: no file is left behind, and the kernel gives it up with its last holder.
ADDRESS = "\0page-alloc-bench"
LISTED_AS = "@page-alloc-bench"  # in /proc/net/unix
_ACCEPTS = 1 << 16  # include/linux/net.h: __SO_ACCEPTCON, set for the socket that listens
_HELPERS = ("pab-watchdog", "pab-findlimit")


def claim() -> socket.socket:
    """Return the socket that stands for being the only copy; keep it open for as long.

    A forked child holds the claim too. Raises HostUnfitError if somebody else has it.
    """
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claimed.bind(ADDRESS)
        claimed.listen(64)  # nobody accepts: each who asks for the holder takes a place
    except OSError as error:
        claimed.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise HostUnfitError(
            f"another copy{holder()} is running; wait for it to end, or stop it with --stop"
        ) from error
    return claimed


@dataclass(frozen=True)
class Claim:
    """The claim of a run. inode: of its socket. pid: of the run; None if only helpers are left."""

    inode: int
    pid: int | None

    def held(self) -> bool:
        """Return whether anything of that run still holds it."""
        return _inode() == self.inode

    def held_by(self, pid: int) -> bool:
        """Return whether this very process holds it."""
        return f"socket:[{self.inode}]" in _open_files(pid)


def find() -> Claim | None:
    """Return the claim that a run of this user, who is root, holds on this host, if one does."""
    inode = _inode()
    if inode is None:
        return None
    name = f"socket:[{inode}]"
    pids = [int(word) for word in os.listdir("/proc") if word.isdigit()]
    holders = {pid: _parent(pid) for pid in pids if _is_ours(pid) and name in _open_files(pid)}
    if not holders:
        return None  # a stranger took the name, or it has just been given up
    # What a run forks holds the claim too.
    tops = [pid for pid, parent in holders.items() if parent not in holders]
    runs = [pid for pid in tops if procfs.read_or_none(f"/proc/{pid}/comm") not in _HELPERS]
    return Claim(inode, runs[0] if runs else None)


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _inode() -> int | None:
    """Return the inode of the socket that stands for being the only copy, None if nobody is."""
    for row in procfs.read("/proc/net/unix").splitlines()[1:]:
        fields = row.split()
        if fields[-1] == LISTED_AS and int(fields[3], 16) & _ACCEPTS:
            return int(fields[6])
    return None


def _open_files(pid: int) -> set[str]:
    """Return what the descriptors of a process stand for; none if it has ended."""
    directory = f"/proc/{pid}/fd"
    found = set()
    with suppress(OSError):
        for number in os.listdir(directory):
            with suppress(FileNotFoundError):  # closed since
                found.add(os.readlink(f"{directory}/{number}"))
    return found


def _parent(pid: int) -> int | None:
    """Return the PID of a process's parent, None if it has ended."""
    stat = procfs.read_or_none(f"/proc/{pid}/stat")
    return None if stat is None else int(stat.rpartition(")")[2].split()[1])


def holder() -> str:
    """Return " (PID n, its command)" of who listens on our address, as far as can be known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(ADDRESS)
            size = struct.calcsize("3i")  # struct ucred
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except OSError:
            return ""  # it has just ended, or its backlog is full
    pid, uid, _gid = struct.unpack("3i", credentials)
    alive = procfs.read_or_none(f"/proc/{pid}/comm")
    if alive is None:
        return f" (PID {pid}, which was killed; the host is still being cleaned up)"
    return f" (PID {pid}, {alive}, of user {uid})" if uid else f" (PID {pid})"

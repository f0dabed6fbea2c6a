# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's log as it grows, read from /dev/kmsg."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from contextlib import suppress

KMSG = "/dev/kmsg"
# drivers/char/mem.c, devlist: the 11th of the memory devices, whose major is in linux/major.h.
DEVICE = (1, 11)
# Larger than any record: kernel/printk/printk.c, PRINTKRB_RECORD_MAX and CONSOLE_EXT_LOG_MAX.
_RECORD_BYTES = 16384
READ_S = 5.0  # a kernel that logs without end is not read without end


class NoKernelLogError(OSError):
    """What stands at the path is not the kernel's log; strerror says what it is."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(errno.ENODEV, f"it is {what}, not the kernel's log", path)


def open_log(flags: int, path: str | None = None) -> int:
    """Return a descriptor of the kernel's log that never blocks.

    Nothing else is opened, for that may wait for ever or do something. Raises NoKernelLogError for
    anything but the kernel's own device, and OSError as open() does.
    """
    path = path or KMSG
    _require_log(path, os.stat(path))
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_log(path, os.fstat(descriptor))
    except NoKernelLogError:
        os.close(descriptor)
        raise
    return descriptor


def advice(error: OSError, path: str = KMSG) -> str:
    """Return what to do about a log that could not be opened."""
    if isinstance(error, NoKernelLogError):
        major, minor = DEVICE
        return f"Put the device back: rm {path} && mknod -m 644 {path} c {major} {minor}"
    if isinstance(error, FileNotFoundError):
        return f"Make the device: mknod -m 644 {path} c {DEVICE[0]} {DEVICE[1]}"
    return "Run as root, outside of any container"


def say(text: str, path: str | None = None) -> None:
    """Write a line into the kernel's log, if it can be written to."""
    with suppress(OSError):
        descriptor = open_log(os.O_WRONLY, path)
        try:
            os.write(descriptor, f"{text}\n".encode())
        finally:
            os.close(descriptor)


def _require_log(path: str, status: os.stat_result) -> None:
    if stat.S_ISCHR(status.st_mode):
        number = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if number == DEVICE:
            return
        name = os.path.realpath(path)
        what = f"{name}, " if name != path else ""
        raise NoKernelLogError(path, f"{what}character device {number[0]}:{number[1]}")
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFDIR: "a directory",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a block device",
    }
    raise NoKernelLogError(path, kinds.get(stat.S_IFMT(status.st_mode), "of an unknown kind"))


def _at_the_end() -> int:
    """Return a descriptor from which only what is logged from now on is read. Raises OSError."""
    descriptor = open_log(os.O_RDONLY)
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


class KernelLog:
    """What the kernel logs from now on; a context manager.

    Raises OSError when the log cannot be read (no CAP_SYSLOG, a container without /dev/kmsg, or
    with something else in its place). lost is True when records were overwritten before they could
    be read.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """descriptor: of a stream of such records, which is taken over; None: /dev/kmsg."""
        self._fd = _at_the_end() if descriptor is None else descriptor
        self.lost = False

    def __enter__(self) -> KernelLog:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def messages(self) -> list[str]:
        """Return what the kernel has said since the last call, oldest first.

        Of a log that grows faster than it can be read, what comes in a few seconds; the rest of it
        next time.
        """
        messages: list[str] = []
        deadline = time.monotonic() + READ_S
        while time.monotonic() < deadline:
            try:
                record = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:
                self.lost = True  # The kernel has moved on to the oldest record that is left.
                continue
            if not record:  # The end, which the kernel's log does not have.
                break
            text = kernel_message(record)
            if text is not None:
                messages.append(text)
        return messages

    def wait(self, timeout_s: float) -> None:
        """Return when there is something to read, after TIMEOUT_S at the latest."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.poll(timeout_s * 1000)


def kernel_message(record: bytes) -> str | None:
    """Return the text of a record of /dev/kmsg, None if the kernel itself did not write it.

    Documentation/ABI/testing/dev-kmsg: "priority,sequence,timestamp,flags[,…];text", then lines of
    properties. What user space writes there never carries facility 0, so nobody can forge one.
    """
    header, separator, rest = record.partition(b";")
    priority = header.partition(b",")[0]
    if not separator or not priority.isdigit() or int(priority) >> 3 != 0:
        return None
    return rest.partition(b"\n")[0].decode(errors="replace")

# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's log as it grows, read from /dev/kmsg."""

from __future__ import annotations

import os
import select
from types import TracebackType

KMSG = "/dev/kmsg"
# Larger than any record: kernel/printk/printk.c, PRINTKRB_RECORD_MAX and CONSOLE_EXT_LOG_MAX.
_RECORD_BYTES = 16384


class KernelLog:
    """What the kernel logs from now on; a context manager.

    Raises OSError when the log cannot be read (no CAP_SYSLOG, a container without /dev/kmsg).
    lost is True when records were overwritten before they could be read.
    """

    def __init__(self, path: str = KMSG) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.lost = False
        os.lseek(self._fd, 0, os.SEEK_END)

    def __enter__(self) -> KernelLog:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def messages(self) -> list[str]:
        """Return what the kernel has said since the last call, oldest first."""
        messages: list[str] = []
        while True:
            try:
                record = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                return messages
            except BrokenPipeError:
                self.lost = True  # The kernel has moved on to the oldest record that is left.
                continue
            text = kernel_message(record)
            if text is not None:
                messages.append(text)

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

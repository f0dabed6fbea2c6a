# SPDX-License-Identifier: GPL-2.0-only
"""Memory of a process that is mapped, populated and unmapped, a piece at a time."""

from __future__ import annotations

import ctypes
import errno
import os

from page_alloc_bench.runner.kernel import mapping

_AGAIN = (errno.EINTR, errno.EAGAIN)
# include/uapi/asm-generic/mman-common.h
_MADV_NOHUGEPAGE = 15


class Memory:
    """Maps of one size. huge: whether it asks for huge pages, of huge_bytes."""

    def __init__(self, size: int, huge_bytes: int, *, huge: bool) -> None:
        libc = mapping.Libc()
        self._mmap, self.madvise = libc.mmap, libc.madvise
        self._munmap = ctypes.CDLL(None, use_errno=True).munmap
        self._munmap.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
        self._size, self._align = size, huge_bytes
        self._advice = mapping.MADV_HUGEPAGE if huge else _MADV_NOHUGEPAGE
        self._flags = mapping.MAP_PRIVATE | mapping.MAP_ANONYMOUS | mapping.MAP_NORESERVE
        self._at = 0

    def map(self) -> int:
        """Map memory that is not there yet; return its first address, that of a huge page."""
        size = self._size + self._align
        self._at = self._mmap(0, size, mapping.PROT_READ_WRITE, self._flags, -1, 0)
        if self._at == mapping.MAP_FAILED:
            raise OSError(ctypes.get_errno(), f"mmap: {os.strerror(ctypes.get_errno())}")
        start = -(-self._at // self._align) * self._align
        self.madvise(start, self._size, self._advice)  # EINVAL: a kernel without huge pages
        return start

    def unmap(self) -> None:
        """Unmap what map() has mapped."""
        self._munmap(self._at, self._size + self._align)

    def populate(self, address: int, size: int) -> None:
        """Fault in a piece. Raises OSError."""
        while self.madvise(address, size, mapping.MADV_POPULATE_WRITE):
            error = ctypes.get_errno()
            if error not in _AGAIN:
                raise OSError(error, f"memory cannot be populated: {os.strerror(error)}")


def can_populate() -> bool:
    """Return whether this kernel has MADV_POPULATE_WRITE, as Linux has from 5.14 on."""
    return bool(mapping.Libc().madvise(0, 0, mapping.MADV_POPULATE_WRITE) == 0)

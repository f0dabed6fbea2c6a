# SPDX-License-Identifier: GPL-2.0-only
"""Map memory and populate it, in as few instructions of Python's own as there can be."""

from __future__ import annotations

import ctypes

# include/uapi/asm-generic/mman-common.h and mman.h, the same on x86 and arm64
PROT_READ_WRITE = 0x1 | 0x2
MAP_PRIVATE = 0x2
MAP_FIXED = 0x10
MAP_ANONYMOUS = 0x20
MAP_NORESERVE = 0x4000
MAP_POPULATE = 0x8000
MADV_NORMAL = 0
MADV_HUGEPAGE = 14
MADV_POPULATE_WRITE = 23  # since 5.14: 4ca9b3859dac, "mm/madvise: introduce MADV_POPULATE_…"
MAP_FAILED = ctypes.c_size_t(-1).value


class Libc:
    """The few C functions that threads call, their arguments' types settled beforehand.

    Addresses are size_t rather than pointers, so that a call converts nothing but integers; each
    call releases Python's lock.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        size = ctypes.c_size_t
        self.prctl = libc.prctl
        self.madvise = libc.madvise
        self.madvise.argtypes = (size, size, ctypes.c_int)
        self.mincore = libc.mincore
        self.mincore.argtypes = (size, size, ctypes.c_char_p)
        self.memset = libc.memset
        self.memset.argtypes = (size, ctypes.c_int, size)
        self.memset.restype = None
        self.mmap = libc.mmap
        number = ctypes.c_int
        self.mmap.argtypes = (size, size, number, number, number, ctypes.c_long)
        self.mmap.restype = size

# SPDX-License-Identifier: GPL-2.0-only
"""What is inherited and decides which memory a process gets."""

from __future__ import annotations

import ctypes

from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.result.inherited import Value

from .calls import call, prctl

# include/uapi/linux/mempolicy.h
_POLICIES = (
    "default",
    "preferred",
    "bind",
    "interleave",
    "local",
    "preferred-many",
    "weighted-interleave",
)
_MODE_FLAGS = 0xE000  # MPOL_MODE_FLAGS
_MOST_NODES = 1024  # CONFIG_NODES_SHIFT is 10 at most
# include/uapi/linux/prctl.h
_SET_THP_DISABLE, _GET_THP_DISABLE = 41, 42
_SET_IO_FLUSHER, _GET_IO_FLUSHER = 57, 58
_SET_MEMORY_MERGE, _GET_MEMORY_MERGE = 67, 68


def policy() -> Value:
    """Return the memory policy, such as "bind:0-1". Raises OSError in a kernel without NUMA."""
    mode, mask = ctypes.c_int(), (ctypes.c_uint8 * (_MOST_NODES // 8))()
    call("get_mempolicy", ctypes.byref(mode), mask, ctypes.c_ulong(_MOST_NODES), None, 0)
    number = mode.value & ~_MODE_FLAGS
    name = _POLICIES[number] if number < len(_POLICIES) else str(number)
    nodes = [node for node in range(_MOST_NODES) if mask[node // 8] >> node % 8 & 1]
    return f"{name}:{procfs.format_list(nodes)}" if nodes else name


def reset_policy() -> None:
    """Take memory from the nearest node first, and from all. Raises OSError."""
    call("set_mempolicy", 0, None, ctypes.c_ulong(0))


def io_flusher() -> Value:
    """Return whether this process is part of the way to a disk, 0 or 1. Raises OSError.

    PF_MEMALLOC_NOIO, which fork and exec keep: mm/oom_kill.c, out_of_memory() does nothing for
    requests without __GFP_FS.
    """
    return prctl(_GET_IO_FLUSHER)


def reset_io_flusher() -> None:
    """Be no part of the way to a disk. Raises OSError."""
    prctl(_SET_IO_FLUSHER, 0)


def thp_disabled() -> Value:
    """Return whether this process gets no transparent huge pages, 0 if it does. Raises OSError."""
    return prctl(_GET_THP_DISABLE)


def reset_thp_disabled() -> None:
    """Have the host decide about transparent huge pages. Raises OSError."""
    prctl(_SET_THP_DISABLE, 0)


def merge() -> Value:
    """Return whether KSM may merge pages of this process, 0 or 1. Raises OSError before 6.4."""
    return prctl(_GET_MEMORY_MERGE)


def reset_merge() -> None:
    """Keep pages from being merged. Raises OSError."""
    prctl(_SET_MEMORY_MERGE, 0)

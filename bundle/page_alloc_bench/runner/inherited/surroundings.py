# SPDX-License-Identifier: GPL-2.0-only
"""What is inherited and can only be left by starting elsewhere: cgroup, namespaces, environment."""

from __future__ import annotations

import os

from page_alloc_bench.runner.kernel import cgroup, procfs
from page_alloc_bench.runner.result.inherited import Value

_NAMESPACES = ("cgroup", "mnt", "net", "time", "user", "pid")
_STEERING = ("LD_", "MALLOC_", "GLIBC_TUNABLES")


def cpu_quota() -> Value:
    """Return the smallest part of the time in a cgroup around us, as "0.5 CPUs"; "": none.

    None where that cannot be seen.
    """
    own = cgroup.own(controller="cpu")
    if own is None:
        return None
    parts = []
    for path in own.line():
        # The second and third are of version 1.
        names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = " ".join(procfs.read_or_none(f"{path}/{name}") or "" for name in names).split()
        if len(words) == 2 and words[0].isdigit():
            parts.append(int(words[0]) / int(words[1]))
    return f"{min(parts):g} CPUs" if parts else ""


def swap_limit() -> Value:
    """Return the smallest limit of swap in a cgroup around us, in bytes as text; "": none.

    None where that cannot be seen.
    """
    own = cgroup.own()
    if not _has_swap():
        return ""
    if own is None:
        return None
    limit = own.swap_limit()
    return str(limit.size) if limit else ""


def namespaces() -> Value:
    """Return the kinds of namespace that process 1 is not in, such as "mnt net"; "": none.

    None where that cannot be seen.
    """
    own, first = (_namespaces_of(process) for process in ("self", "1"))
    if not own or not first:
        return None
    return " ".join(kind for kind in _NAMESPACES if own.get(kind) != first.get(kind))


def environment() -> Value:
    """Return the names of variables that steer the C library's memory, or what it loads."""
    return " ".join(sorted(name for name in os.environ if name.startswith(_STEERING)))


def _has_swap() -> bool:
    return len((procfs.read_or_none("/proc/swaps") or "").splitlines()) > 1


def _namespaces_of(process: str) -> dict[str, str]:
    directory = f"/proc/{process}/ns"
    try:
        return {kind: os.readlink(f"{directory}/{kind}") for kind in os.listdir(directory)}
    except OSError:
        return {}

# SPDX-License-Identifier: GPL-2.0-only
"""What is inherited and can only be left by starting elsewhere: cgroup, namespaces, environment."""

from __future__ import annotations

import os
from pathlib import Path

from page_alloc_bench.runner.kernel import cgroup, procfs
from page_alloc_bench.runner.result.inherited import Value

_NAMESPACES = ("cgroup", "mnt", "net", "time", "user", "pid")
_STEERING = ("LD_", "MALLOC_", "GLIBC_TUNABLES")


def cpu_quota() -> Value:
    """Return the smallest part of the time in a cgroup v2 around us, as "0.5 CPUs"; "": none."""
    parts = []
    for text in _settings("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit():
            parts.append(int(quota) / int(period))
    return f"{min(parts):g} CPUs" if parts else ""


def swap_limit() -> Value:
    """Return the smallest limit of swap in a cgroup v2 around us, in bytes as text; "": none."""
    sizes = [int(text) for text in _settings("memory.swap.max") if text.isdigit()]
    return str(min(sizes)) if sizes and _has_swap() else ""


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


def _settings(name: str) -> list[str]:
    """Return what the files of this name hold, from our cgroup of version 2 up to the top."""
    own = cgroup.own()
    if own is None or own.version != 2:
        return []
    inside = [path for path in own.directory.parents if own.top in (path, *path.parents)]
    found = [procfs.read_or_none(str(Path(path, name))) for path in (own.directory, *inside)]
    return [text for text in found if text]


def _has_swap() -> bool:
    return len((procfs.read_or_none("/proc/swaps") or "").splitlines()) > 1


def _namespaces_of(process: str) -> dict[str, str]:
    directory = f"/proc/{process}/ns"
    try:
        return {kind: os.readlink(f"{directory}/{kind}") for kind in os.listdir(directory)}
    except OSError:
        return {}

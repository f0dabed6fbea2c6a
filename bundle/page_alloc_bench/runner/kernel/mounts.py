# SPDX-License-Identifier: GPL-2.0-only
"""Whether /proc and /sys are there, and whole: every run reads the kernel's tables in them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from page_alloc_bench.runner.errors import HostUnfitError

from . import procfs

MEANING = "the kernel's tables of its memory and CPUs cannot be read, and every run needs them"
ADVICE = "mount it over what is there, or run outside of the container"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file system of the kernel's, and the command that mounts it whole."""

    name: str
    found: str
    command: str


@dataclass(frozen=True)
class _Mount:
    """name: where it is, below /. kind: of file system. needed: files that every run reads."""

    name: str
    kind: str
    needed: tuple[str, ...]


_MOUNTS = (
    _Mount("proc", "proc", ("buddyinfo", "meminfo", "self/status", "vmstat", "zoneinfo")),
    _Mount("sys", "sysfs", ("devices/system/cpu/online", "devices/system/cpu/present")),
)


def problems(root: str = "/") -> list[Problem]:
    """Return what keeps every run from beginning; nothing, as a rule."""
    return [found for mount in _MOUNTS if (found := _problem(mount, root)) is not None]


def require() -> None:
    """Raise HostUnfitError where a run could read nothing."""
    for problem in problems():
        raise HostUnfitError(f"{problem.found}: {MEANING}; {ADVICE}: {problem.command}")


def _problem(mount: _Mount, root: str) -> Problem | None:
    directory = os.path.join(root, mount.name)
    lacking = [name for name in mount.needed if _unreadable(os.path.join(directory, name))]
    if not lacking:
        return None
    command = f"mount -t {mount.kind} {mount.kind} /{mount.name}"
    return Problem(mount.name, _why(mount, directory, lacking), command)


def _unreadable(path: str) -> bool:
    return procfs.read_or_none(path) is None


def _why(mount: _Mount, directory: str, lacking: list[str]) -> str:
    here = f"/{mount.name}"
    if not os.path.isdir(directory) or not os.listdir(directory):
        return f"{here} is not mounted"
    if "subset=pid" in _options(directory):
        return f"{here} is mounted with subset=pid, which leaves out {here}/{lacking[0]}"
    return f"{here} is masked, or something else is mounted there: no {here}/{lacking[0]}"


def _options(directory: str) -> set[str]:
    """Return the options of what is mounted at /proc, which directory stands for.

    Documentation/filesystems/proc.rst, mountinfo: those of the file system are the last field.
    """
    found: set[str] = set()
    for line in (procfs.read_or_none(os.path.join(directory, "self/mountinfo")) or "").splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[4] == "/proc":
            found = set(right.split()[-1].split(","))
    return found

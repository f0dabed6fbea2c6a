# SPDX-License-Identifier: GPL-2.0-only
"""The memory cgroup this process is in: its limit, its usage, and whether OOM kills take it whole.

Both hierarchies are known: version 2 (memory.max) and version 1 (memory.limit_in_bytes).
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst say what the files mean.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """A number of bytes that a cgroup has been given, and the file that holds it."""

    size: int
    path: Path


@dataclass(frozen=True)
class MemoryCgroup:
    """One memory cgroup: its directory, and the directory where its hierarchy is mounted."""

    directory: Path
    top: Path
    version: int

    def limit(self) -> Setting | None:
        """Return that limit, and where it stands."""
        return self._least("memory.max" if self.version == 2 else "memory.limit_in_bytes")

    def limit_bytes(self) -> int | None:
        """Return the smallest limit from here up to the top, or None if there is none."""
        limit = self.limit()
        return limit.size if limit else None

    def throttle(self) -> Setting | None:
        """Return the smallest memory.high from here up to the top, or None if there is none."""
        return self._least("memory.high")

    def swap_limit(self) -> Setting | None:
        """Return the smallest limit of swap, which in version 1 is of memory and swap together."""
        return self._least(
            "memory.swap.max" if self.version == 2 else "memory.memsw.limit_in_bytes"
        )

    def allowed(self, kind: str) -> str | None:
        """Return the list of cpus or mems that the cpuset leaves, None if there is no telling."""
        name = f"cpuset.{kind}.effective" if self.version == 2 else f"cpuset.effective_{kind}"
        for path in self.line():
            if lines := _lines(path / name):
                return lines[0]
        return None

    def usage_bytes(self) -> int | None:
        """Return what is charged to this cgroup now, or None at the top, where nobody counts."""
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return _number(self.directory / name)

    def killed_whole(self) -> Path | None:
        """Return the memory.oom.group that makes an OOM kill in here take every process, if any.

        mm/memcontrol.c, mem_cgroup_get_oom_group(): the topmost cgroup that says so counts, also
        when the whole machine is out of memory; processes with oom_score_adj -1000 are spared.
        """
        for path in reversed(self.line()):
            if _number(path / "memory.oom.group") == 1:
                return path / "memory.oom.group"
        return None

    def _least(self, name: str) -> Setting | None:
        """Return the smallest number that the files of this name hold, and where."""
        numbers = [(_number(path / name), path / name) for path in self.line()]
        # Version 1 writes the largest counter it has for "no limit".
        known = [Setting(n, path) for n, path in numbers if n is not None and n < 1 << 60]
        return min(known, key=lambda setting: setting.size, default=None)

    def line(self) -> list[Path]:
        """Return this cgroup's directory and those of its ancestors, this one first."""
        inside = [path for path in self.directory.parents if self.top in (path, *path.parents)]
        return [self.directory, *inside]


@functools.cache
def own(root: str = "/", controller: str = "memory") -> MemoryCgroup | None:
    """Return the cgroup of this process, or None where there is none or none to see.

    controller: whose hierarchy it is to be of. Looked up once: a run does not move to another.
    """
    mounts = _mounts(root, controller)
    for line in _lines(Path(root, "proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        version = 2 if controllers == "" else 1
        if version == 1 and controller not in controllers.split(","):
            continue
        mount = mounts.get(version)
        if mount is None:
            continue
        inside, top = mount
        relative = Path(path).relative_to(inside) if Path(path).is_relative_to(inside) else None
        if relative is None:
            continue
        directory = top / relative
        if version == 1 or ((top / "cgroup.controllers").is_file() and _has(top, controller)):
            return MemoryCgroup(directory, top, version)
    return None


def _has(top: Path, controller: str) -> bool:
    """Say whether the version 2 hierarchy mounted at TOP has a controller."""
    return controller in " ".join(_lines(top / "cgroup.controllers")).split()


def _mounts(root: str, controller: str) -> dict[int, tuple[Path, Path]]:
    """Return for each version (the cgroup that is mounted, where) from /proc/self/mountinfo."""
    found: dict[int, tuple[Path, Path]] = {}
    for line in _lines(Path(root, "proc/self/mountinfo")):
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(" ", 2)
        if kind == "cgroup2":
            version = 2
        elif kind == "cgroup" and controller in options.split(","):
            version = 1
        else:
            continue
        found.setdefault(version, (Path(fields[3]), Path(root, fields[4].lstrip("/"))))
    return found


def _lines(path: Path) -> list[str]:
    """Return the lines of a file, none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """Return the number a file holds, None if it cannot be read or holds a word ("max")."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None

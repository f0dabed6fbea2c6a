# SPDX-License-Identifier: GPL-2.0-only
"""A CPU quota and a limit of swap around this process are seen in both versions of cgroups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from page_alloc_bench.runner.inherited import surroundings
from page_alloc_bench.runner.kernel import cgroup, procfs

SWAPS = "Filename\tType\tSize\tUsed\tPriority\n/dev/vda2 partition 1024 0 -2"
NO_SWAP = SWAPS.partition("\n")[0]
LARGEST = "9223372036854771712"  # how version 1 writes that there is no limit
VERSION_2 = {
    "proc/self/cgroup": "0::/a/b\n",
    "proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
}
VERSION_1 = {
    "proc/self/cgroup": "4:memory:/a/b\n3:cpu,cpuacct:/a/b\n0::/a/b\n",
    "proc/self/mountinfo": (
        "30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 1 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    ),
    "sys/fs/cgroup/unified/cgroup.controllers": "\n",
}
MEMORY, CPU = "sys/fs/cgroup/memory", "sys/fs/cgroup/cpu,cpuacct"
V2 = "sys/fs/cgroup"


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up host's files, with swap, that the surroundings are read from."""
    find, read = cgroup.own, procfs.read_or_none
    monkeypatch.setattr(cgroup, "own", lambda controller="memory": find(str(tmp_path), controller))
    monkeypatch.setattr(
        procfs, "read_or_none", lambda path: SWAPS if path == "/proc/swaps" else read(path)
    )
    return tmp_path


def write(root: Path, *trees: Mapping[str, str]) -> None:
    for name, text in (item for tree in trees for item in tree.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def quota(place: str, quota_us: str, period_us: str = "100000") -> dict[str, str]:
    """What version 1 has of a CPU quota in one cgroup."""
    return {f"{place}/cpu.cfs_quota_us": quota_us, f"{place}/cpu.cfs_period_us": period_us}


@pytest.mark.parametrize(
    ("tree", "seen"),
    [
        ({}, ""),
        ({f"{V2}/a/b/cpu.max": "max 100000\n"}, ""),
        ({f"{V2}/a/b/cpu.max": "50000 100000\n"}, "0.5 CPUs"),
        ({f"{V2}/a/b/cpu.max": "200000 100000\n", f"{V2}/a/cpu.max": "1000 2000\n"}, "0.5 CPUs"),
    ],
)
def test_a_cpu_quota_of_version_2(around: Path, tree: dict[str, str], seen: str) -> None:
    write(around, VERSION_2, tree)
    assert surroundings.cpu_quota() == seen


@pytest.mark.parametrize(
    ("tree", "seen"),
    [
        ({}, ""),  # a kernel without CFS_BANDWIDTH
        (quota(CPU, "-1\n"), ""),
        (quota(f"{CPU}/a/b", "50000\n", "100000\n"), "0.5 CPUs"),
        ({**quota(f"{CPU}/a/b", "-1\n"), **quota(f"{CPU}/a", "150000\n")}, "1.5 CPUs"),
    ],
)
def test_a_cpu_quota_of_version_1(around: Path, tree: dict[str, str], seen: str) -> None:
    write(around, VERSION_1, tree)
    assert surroundings.cpu_quota() == seen


@pytest.mark.parametrize(
    ("tree", "seen"),
    [
        ({}, ""),
        ({f"{V2}/a/b/memory.swap.max": "max\n"}, ""),
        ({f"{V2}/a/b/memory.swap.max": "0\n"}, "0"),
        ({f"{V2}/a/b/memory.swap.max": "8192\n", f"{V2}/a/memory.swap.max": "4096\n"}, "4096"),
    ],
)
def test_a_limit_of_swap_of_version_2(around: Path, tree: dict[str, str], seen: str) -> None:
    write(around, VERSION_2, tree)
    assert surroundings.swap_limit() == seen


@pytest.mark.parametrize(
    ("sizes", "seen"),
    [
        ({}, ""),  # swapaccount=0
        ({"a/b": LARGEST}, ""),
        ({"a/b": LARGEST, "a": "1073741824"}, "1073741824"),
    ],
)
def test_a_limit_of_swap_of_version_1(around: Path, sizes: dict[str, str], seen: str) -> None:
    write(
        around,
        VERSION_1,
        {f"{MEMORY}/{at}/memory.memsw.limit_in_bytes": f"{size}\n" for at, size in sizes.items()},
    )
    assert surroundings.swap_limit() == seen


def test_where_there_is_no_cgroup_to_see_no_limit_is_known(around: Path) -> None:
    assert around.is_dir()
    assert surroundings.cpu_quota() is None
    assert surroundings.swap_limit() is None


def test_a_limit_of_swap_is_nothing_where_there_is_no_swap(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "read_or_none", lambda _path: NO_SWAP)
    write(around, VERSION_2, {f"{V2}/a/b/memory.swap.max": "4096\n"})
    assert surroundings.swap_limit() == ""

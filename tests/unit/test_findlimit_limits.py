# SPDX-License-Identifier: GPL-2.0-only
"""The limits of cgroups and huge pages are read as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from page_alloc_bench.runner.kernel import cgroup


def cgroup_v2(root: Path, groups: dict[str, dict[str, str]]) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("1:name=systemd:/\n0::/a/b\n")
    mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    (root / "proc/self/mountinfo").write_text(mount)
    for name, files in groups.items():
        directory = root / "sys/fs/cgroup" / name
        directory.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (directory / file).write_text(text + "\n")


def test_the_smallest_limit_of_the_line_counts(tmp_path: Path) -> None:
    cgroup_v2(
        tmp_path,
        {
            ".": {"cgroup.controllers": "cpu memory pids"},
            "a": {"memory.max": "1000", "memory.oom.group": "0"},
            "a/b": {"memory.max": "max", "memory.current": "77", "memory.oom.group": "0"},
        },
    )
    own = cgroup.own(str(tmp_path))
    assert own is not None
    assert own.limit() == cgroup.Setting(1000, tmp_path / "sys/fs/cgroup/a/memory.max")
    assert (own.usage_bytes(), own.killed_whole()) == (77, None)
    (own.directory.parent / "memory.oom.group").write_text("1\n")
    assert own.killed_whole() == tmp_path / "sys/fs/cgroup/a/memory.oom.group"


def test_version_1_writes_no_limit_as_a_number(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/a\n0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text(
        "35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "36 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    group = tmp_path / "sys/fs/cgroup/memory/a"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    own = cgroup.own(str(tmp_path))
    assert own is not None
    assert (own.version, own.limit()) == (1, None)
    (group.parent / "memory.limit_in_bytes").write_text("4096\n")
    assert own.limit() == cgroup.Setting(4096, group.parent / "memory.limit_in_bytes")


def test_no_cgroups_no_limit(tmp_path: Path) -> None:
    assert cgroup.own(str(tmp_path)) is None

# SPDX-License-Identifier: GPL-2.0-only
"""Roots that an ordinary user makes: files keep their owners where it matters.

mmdebstrap, which fetches from a mirror, is stood in for by a script that writes such an archive.
"""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from page_alloc_bench.targets import apt, bootstrap
from page_alloc_bench.targets.process import TargetError

DEBIAN = bootstrap.Debian(("bookworm",), ("openssh-server",))
FILES = {"./etc/passwd": (0, 0, 0o644), "./etc/shadow": (0, 42, 0o640),
         "./usr/bin/sudo": (0, 0, 0o4755), "./home/bench/file": (1000, 1000, 0o600)}  # fmt: skip


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ordinary user; root plays one, whose namespace is the one that there is."""
    tools, archive = tmp_path / "tools", tmp_path / "debian.tar"
    tools.mkdir()
    with tarfile.open(archive, "w") as tar:
        for name in ("./etc", "./usr/bin", "./home/bench", "./dev"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, (uid, gid, mode) in FILES.items():
            member = tarfile.TarInfo(name)
            member.uid, member.gid, member.mode, member.size = uid, gid, mode, 4
            tar.addfile(member, io.BytesIO(b"text"))
        device = tarfile.TarInfo("./dev/null")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(device)
    programs = {"mmdebstrap": f'echo "$@" >{tmp_path}/asked\nfor w in "$@"; do case $w in '
                f"*.tar) cp {archive} $w ;; esac; done"}  # fmt: skip
    if os.geteuid() == 0:
        programs |= {
            "newuidmap": "",
            "unshare": 'while [ "$1" != -- ]; do shift; done; shift; "$@"',
        }
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(apt, "source_lines", lambda *_: [])
    monkeypatch.setattr(apt, "find_mirrors", lambda: apt.Mirrors("", ""))
    return tmp_path


def owner(image: Path, name: str) -> tuple[int, int, int]:
    """Return user, group and mode of a file in an image."""
    done = subprocess.run(["/sbin/debugfs", "-R", f"stat {name}", image], capture_output=True,
                          text=True, check=True)  # fmt: skip
    mode, user, group = (
        re.search(rf"{word}: +(\d+)", done.stdout)[1]  # type: ignore[index]
        for word in ("Mode", "User", "Group")
    )
    return int(user), int(group), int(mode, 8)


def test_an_image_has_the_owners_of_the_archive_and_of_the_hook(user: Path) -> None:
    image = user / "root.ext4"
    bootstrap.image(DEBIAN, image, 16, 'set -e\ntouch "$1"/etc/new\nchown 7:8 "$1"/etc/new')
    for name, wanted in FILES.items():
        assert owner(image, name[1:]) == wanted
    assert owner(image, "/etc/new")[:2] == (7, 8)
    assert "--mode=unshare" in (user / "asked").read_text()
    assert sorted(os.listdir(user)) == ["asked", "debian.tar", "root.ext4", "tools"]


def test_a_hook_that_fails_leaves_nothing(user: Path) -> None:
    with pytest.raises(TargetError, match="no such thing"):
        bootstrap.image(DEBIAN, user / "root.ext4", 16, 'echo "no such thing" >&2; exit 3')
    assert sorted(os.listdir(user)) == ["asked", "debian.tar", "tools"]


def test_a_build_root_is_a_tree_of_this_users(user: Path) -> None:
    tree = user / "tree"
    bootstrap.install(DEBIAN, tree)
    assert (tree / "etc/passwd").read_text() == "text"
    assert os.listdir(tree / "dev") == []
    assert stat.S_IMODE((tree / "usr/bin/sudo").stat().st_mode) & 0o111
    assert sorted(os.listdir(user)) == ["asked", "debian.tar", "tools", "tree"]

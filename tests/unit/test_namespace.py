# SPDX-License-Identifier: GPL-2.0-only
"""Guests of an ordinary user: what is missing is named, with the command that brings it."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.targets import namespace
from page_alloc_bench.targets.process import TargetError


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose namespaces fail; returns the directory of his tools."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("unshare", "newuidmap"):
        (tools / name).write_text("#!/bin/sh\necho 'unshare failed: no' >&2; exit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(sys, "argv", ["/venv/bin/page-alloc-bench", "vm", "bench.run"])
    monkeypatch.setattr(getpass, "getuser", lambda: "somebody")
    return tools


def tables(directory: Path, monkeypatch: pytest.MonkeyPatch, **contents: str) -> None:
    """Let the files that decide about namespaces be others: switches, subuid, subgid."""
    read, there = Path.read_text, Path.is_file

    def stand_in(path: Path) -> str | None:
        return contents.get(path.name) if str(path).startswith(("/proc/sys", "/etc/sub")) else None

    def read_text(path: Path, *arguments: str, **options: str) -> str:
        text = stand_in(path)
        return read(path, *arguments, **options) if text is None else text

    def is_file(path: Path) -> bool:
        decides = str(path).startswith(("/proc/sys", "/etc/sub"))
        return stand_in(path) is not None if decides else there(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "is_file", is_file)


HIS = {"subuid": "somebody:100000:65536\n", "subgid": "somebody:100000:65536\n"}


@pytest.mark.parametrize(
    ("contents", "advice"),
    [
        (HIS | {"unprivileged_userns_clone": "0\n"}, "sysctl kernel.unprivileged_userns_clone=1"),
        (HIS | {"max_user_namespaces": "0\n"}, "sysctl user.max_user_namespaces=10000"),
        (
            HIS | {"apparmor_restrict_unprivileged_userns": "1\n"},
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            {"subuid": "other:1:65536\n", "subgid": HIS["subgid"]},
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 somebody",
        ),
        ({"subuid": HIS["subuid"]}, "usermod --add-subuids"),
        (HIS | {"unprivileged_userns_clone": "1\n"}, "can be made: unshare failed: no"),
    ],
)
def test_what_forbids_a_namespace_is_named(
    user: Path, contents: dict[str, str], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables(user, monkeypatch, **contents)
    with pytest.raises(TargetError) as caught:
        namespace.require()
    assert advice in str(caught.value)
    assert str(caught.value).endswith(
        "or run this as root: sudo /venv/bin/page-alloc-bench vm bench.run"
    )


def test_a_missing_helper_names_its_package(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (user / "newuidmap").unlink()
    monkeypatch.setattr(namespace, "need", missing)
    with pytest.raises(TargetError, match=r"apt-get install uidmap\nor run this as root: sudo"):
        namespace.require()


def missing(tool: str, package: str) -> str:
    raise TargetError(f"{tool} is not installed: apt-get install {package}")


def test_root_needs_no_namespace() -> None:
    if os.geteuid() == 0:
        assert namespace.command(["true"]) == ["true"]
    else:
        done = subprocess.run([*namespace.command(["id", "-u"])], capture_output=True, check=True)
        assert done.stdout == b"0\n"


def test_what_belongs_to_others_is_removed_too(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/file").touch()
    command = namespace.command(["chown", "-R", "1:1", str(tree / "inner")])
    subprocess.run(command, check=True)
    namespace.remove(tree)
    assert not tree.exists()

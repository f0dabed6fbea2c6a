# SPDX-License-Identifier: GPL-2.0-only
"""A bundle holds what it should, the same each time, and says nothing of where it was made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from bundle_maker import MACHINE, RELEASE, make_bundle
from page_alloc_bench import outputs, resources
from page_alloc_bench.packager import (
    bundle,
    manifest,
    wheels,
)
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.process import run

# The bundle.


def test_a_bundle_holds_the_runner_and_nothing_else_of_us(plain_bundle: Path) -> None:
    with zipfile.ZipFile(plain_bundle) as archive:
        names = set(archive.namelist())
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        dates = {entry.date_time for entry in archive.infolist()}
    package = resources.kmod_dir().parent / "bundle/page_alloc_bench"
    runner = {
        f"site-packages/page_alloc_bench/runner/{path.relative_to(package / 'runner')}"
        for path in (package / "runner").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "launch.py"
    }
    typed = (
        {"site-packages/page_alloc_bench/py.typed"} if (package / "py.typed").exists() else set()
    )
    assert names == runner | typed | {
        "__main__.py",
        "_bootstrap/__init__.py",
        "_bootstrap/environment.py",
        "_bootstrap/filelock.py",
        "_bootstrap/interpreter.py",
        "environment.json",
        "kmod/Kbuild",
        "licenses/GPL-2.0-only.txt",
        "licenses/psutil.txt",
        "licenses/shiv.txt",
        "manifest.json",
        f"modules/{RELEASE}-{MACHINE}/page_alloc_bench.ko",
        "run.sh",
        "site-packages/page_alloc_bench/__init__.py",
        "site-packages/page_alloc_bench/runner/__main__.py",
        "site-packages/x86_64/psutil/__init__.py",
        "site-packages/x86_64/psutil/_common.py",
        "site-packages/x86_64/psutil/_pslinux.py",
        "site-packages/x86_64/psutil/_psutil_linux.abi3.so",
        "stub.crc32",
    }
    assert {name for name, mode in modes.items() if mode == 0o755} == {
        "run.sh",
        "site-packages/x86_64/psutil/_psutil_linux.abi3.so",
    }
    assert set(modes.values()) == {0o755, 0o644}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def test_two_builds_agree_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_bundle(tmp_path / "bench.run").read_bytes()
    (tmp_path / "other place").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other place"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("HOME", "/proc/absent")
    monkeypatch.setattr("tempfile.tempdir", None)
    previous = os.umask(0o077)
    try:
        second = make_bundle(tmp_path / "other place" / "another.run").read_bytes()
    finally:
        os.umask(previous)
    assert first == second


def test_a_home_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(PackagerError, match=f"{home} does not exist") as caught:
        wheels.psutil_wheel(MACHINE)
    assert "XDG_CACHE_HOME" in caught.value.advice
    assert not home.exists()


def plain(path: Path) -> bytes:
    """Everything in a bundle that can be read, without what is compressed: that may spell anything.

    A short name is in so many random bytes once in forty bundles.
    """
    rest = bytearray(path.read_bytes())
    content = []
    with zipfile.ZipFile(path) as archive:
        for member in reversed(archive.infolist()):
            content.append(archive.read(member))
            if member.compress_type != zipfile.ZIP_STORED:
                names = int.from_bytes(rest[member.header_offset + 26 :][:2], "little")
                extra = int.from_bytes(rest[member.header_offset + 28 :][:2], "little")
                begin = member.header_offset + 30 + names + extra
                del rest[begin : begin + member.compress_size]
    return b"\n".join([*content, rest])


def test_a_bundle_does_not_tell_where_it_was_made(tmp_path: Path) -> None:
    told = plain(make_bundle(tmp_path / "bench.run"))
    assert b"page_alloc_bench" in told
    for secret in (
        str(tmp_path),
        str(Path.cwd()),
        tempfile.gettempdir() + "/tmp",
        "@" + os.uname().nodename,
    ):
        assert secret.encode() not in told


def test_manifest_vouches_for_every_part(plain_bundle: Path) -> None:
    with zipfile.ZipFile(plain_bundle) as archive:
        document = json.loads(archive.read("manifest.json"))
        for part in document["parts"]:
            data = archive.read(part["name"])
            assert (len(data), hashlib.sha256(data).hexdigest()) == (part["size"], part["sha256"])
        assert {part["name"] for part in document["parts"]} | {"manifest.json"} == set(
            archive.namelist()
        )
    assert document["format"] == manifest.FORMAT
    assert document["modules"][0]["release"] == RELEASE


def test_zip_starts_at_a_block_and_other_tools_read_it(plain_bundle: Path) -> None:
    data = plain_bundle.read_bytes()
    assert data.index(b"PK\x03\x04") % bundle.BLOCK == 0
    if shutil.which("unzip"):
        finished = run(["unzip", "-tq", str(plain_bundle)])
        assert (finished.status, finished.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("part", ["stub", "run.sh"])
def test_shellcheck_finds_nothing(part: str, plain_bundle: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    if part == "stub":
        stub = plain_bundle.read_bytes().partition(b"PK\x03\x04")[0]
        script.write_bytes(stub.rstrip(b"\n") + b"\n")
    else:
        with zipfile.ZipFile(plain_bundle) as archive:
            script.write_bytes(archive.read(part))
    finished = run(["shellcheck", "--shell=sh", "--severity=style", str(script)])
    assert finished.stdout == ""


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_written_whole_with_the_mode_of_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    target = tmp_path / "bench.run"
    target.write_text("old")
    previous = os.umask(umask)
    try:
        outputs.write(target, b"new", executable=True)
    finally:
        os.umask(previous)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == mode
    assert [path.name for path in tmp_path.iterdir()] == ["bench.run"]


# psutil's wheel.


def test_a_cached_wheel_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/proc/absent/python")
    wheel = wheels.cache_dir() / "psutil-7.2.2-cp36-abi3-manylinux2010_x86_64.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"a wheel")
    with pytest.raises(PackagerError):
        wheels.psutil_wheel("x86_64")  # its hash is not one of ours
    requirements = tmp_path / "psutil.txt"
    requirements.write_text(f"psutil==7 --hash=sha256:{hashlib.sha256(b'a wheel').hexdigest()}")
    monkeypatch.setattr(wheels, "REQUIREMENTS", requirements)
    assert wheels.psutil_wheel("x86_64") == wheel

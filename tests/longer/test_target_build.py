# SPDX-License-Identifier: GPL-2.0-only
"""The module compiled as --build-on-target does it, for a kernel whose headers are here."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench import resources
from page_alloc_bench.packager import manifest, module_info
from page_alloc_bench.runner.bundle_file import target_build
from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.kernel import host_facts
from page_alloc_bench.targets import kernels


@pytest.fixture(scope="module")
def kernel() -> kernels.FetchedKernel:
    return kernels.fetch()


@pytest.fixture
def headers(kernel: kernels.FetchedKernel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The headers of a kernel, as if this host ran it."""
    monkeypatch.setattr(target_build, "kdir", lambda: str(kernel.kdir))
    return kernel.kdir


@contextlib.contextmanager
def unguarded(_: int) -> Iterator[None]:
    yield


def sources() -> dict[str, bytes]:
    return manifest.read_tree(resources.kmod_dir())


def test_the_module_is_what_the_packager_makes(headers: Path, bundle: Path, tmp_path: Path) -> None:
    image, entry = target_build.build(sources(), str(tmp_path / "there"), unguarded)
    with zipfile.ZipFile(bundle) as archive:
        (packed,) = [name for name in archive.namelist() if name.endswith(".ko")]
        assert image == archive.read(packed)
    info = module_info.read(image)
    for name in ("release", "vermagic", "machine", "compiler", "srcversion"):
        assert entry[name] == getattr(info, name), name
    assert (entry["size"], entry["sha256"]) == (len(image), manifest.sha256(image))
    assert entry["config"] == host_facts.describe_config((headers / ".config").read_text())
    assert entry["built_on_target"] is True


def test_a_failure_quotes_the_compiler(headers: Path, tmp_path: Path) -> None:
    broken = {**sources(), "device.c": b"int x = surprise;\n"}
    with pytest.raises(HostUnfitError) as caught:
        target_build.build(broken, str(tmp_path / "there"), unguarded)
    assert "surprise" in str(caught.value)
    assert "kmod/device.c:1:" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "words"),
    [("make", "make is not installed"), ("gcc-12", "gcc-12 is not installed; install gcc-12")],
)
def test_a_missing_tool_is_named(
    headers: Path, missing: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else which(name))
    with pytest.raises(HostUnfitError, match=words):
        target_build.require()


def test_missing_headers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(target_build, "kdir", lambda: str(tmp_path))
    with pytest.raises(HostUnfitError, match=f"install linux-headers-{os.uname().release} on"):
        target_build.require()
    (tmp_path / "Makefile").touch()
    with pytest.raises(HostUnfitError, match="modules_prepare"):
        target_build.require()


@pytest.mark.parametrize(
    ("text", "installed", "words"),
    [
        ("gcc (GCC) 14.2.0", {"gcc", "make"}, []),
        ("gcc-14 (Debian 14.2.0-19) 14.2.0", {"gcc-14", "make"}, ["CC=gcc-14"]),
        ("Debian clang version 19.1.7 (3)", {"clang", "gcc", "make"}, ["LLVM=1"]),
        ("Debian clang version 19.1.7 (3)", {"clang-19", "gcc", "make"}, ["LLVM=-19"]),
    ],
)
def test_the_compiler_is_the_kernels(
    text: str,
    installed: set[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("Makefile", "include/generated/autoconf.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "Module.symvers").write_text("0x1\tpanic\tvmlinux\tEXPORT_SYMBOL\t\n")
    (tmp_path / "include/config").mkdir()
    config = tmp_path / "include/config/auto.conf"
    config.write_text(f'CONFIG_CC_VERSION_TEXT="{text}"\n')
    monkeypatch.setattr(target_build, "kdir", lambda: str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: name if name in installed else None)
    assert target_build.require() == words
    installed -= {"gcc", "gcc-14", "clang", "clang-19"}
    with pytest.raises(HostUnfitError, match=r"is not installed; install (gcc|clang-19 lld-19)"):
        target_build.require()

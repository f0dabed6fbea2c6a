# SPDX-License-Identifier: GPL-2.0-only
"""Real kernel trees in every state that people have them in, built from Debian's source."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from page_alloc_bench.packager import process, tree
from page_alloc_bench.packager.build import BuildRequest, BuildResult, build
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.place import Place
from page_alloc_bench.targets import build_root, kernels, source_kernel
from page_alloc_bench.targets.appliance import Appliance
from trees import place

# The smallest kernel that loads modules.
TINY = "CONFIG_64BIT=y\nCONFIG_MODULES=y\nCONFIG_MODULE_UNLOAD=y\n"


def make(top: Path, *words: str, seen: Sequence[Path] = ()) -> None:
    """Run make in the build root, with ``top`` to write to."""
    command = ["make", "-s", "-C", str(top), *words]
    argv = build_root.command(command, writable=[top], readonly=list(seen))
    done = subprocess.run(["nice", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def source() -> Path:
    return source_kernel.source("6.12")


@pytest.fixture(scope="module")
def built() -> kernels.FetchedKernel:
    """A kernel whose O= directory is kept whole, built by clang."""
    return kernels.fetch("6.12-clang")


@pytest.fixture(scope="module")
def prepared(
    source: Path, built: kernels.FetchedKernel, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An O= directory of the same configuration with no more than make modules_prepare."""
    objects = tmp_path_factory.mktemp("prepared")
    shutil.copy(built.kdir / ".config", objects)
    for goal in ("olddefconfig", "modules_prepare"):
        command = ["make", "-s", "-C", str(source), f"O={objects}", "LLVM=1", goal]
        argv = build_root.command(command, writable=[objects], readonly=[source])
        done = subprocess.run(["nice", *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    return objects


def bundle(kdir: Path, output: Path, *seen: Path, llvm: str | None = None) -> BuildResult:
    return build(BuildRequest(kdir, output=output, llvm=llvm, within=place(kdir, *seen)))


def loads(kernel: kernels.FetchedKernel, file: Path) -> None:
    """Have the kernel take the bundle's module and run it."""
    command = "/root/bench.run --iterations 1 --alloc-orders 0 --cpus 0 --quiet >/root/out.json"
    done = Appliance(kernel, cpus=1).run(command, {"/root/bench.run": file}, ["/root/out.json"])
    assert done.status == 0, done.stderr
    assert json.loads(done.files["/root/out.json"])["run"]["complete"] is True


def test_the_directory_of_a_build_elsewhere(
    source: Path, built: kernels.FetchedKernel, tmp_path: Path
) -> None:
    assert (built.kdir / "source").is_symlink()  # made by O=
    result = bundle(built.kdir, tmp_path / "bench.run", source, llvm="1")
    assert result.warnings == ()
    assert result.modules[0].info.release == built.release
    assert "clang" in result.modules[0].info.compiler
    loads(built, result.path)


def test_a_tree_that_is_only_prepared(
    source: Path, prepared: Path, built: kernels.FetchedKernel, tmp_path: Path
) -> None:
    assert not (prepared / "Module.symvers").exists()
    assert not (prepared / "vmlinux").exists()
    result = bundle(prepared, tmp_path / "bench.run", source, llvm="1")
    symbols, build_of_it = result.warnings
    assert "no Module.symvers" in symbols
    assert "shows only when the module is loaded" in symbols
    assert "does not tell which build" in build_of_it
    assert result.modules[0].info.release == built.release
    loads(built, result.path)


def test_a_tree_built_in_place(source: Path, tmp_path: Path) -> None:
    top = tmp_path / "linux"
    subprocess.run(["cp", "-a", source, top], check=True)
    (top / "tiny.config").write_text(TINY)
    with pytest.raises(PackagerError) as caught:
        bundle(top, tmp_path / "bench.run")
    assert "not prepared for modules" in caught.value.message
    make(top, f"KCONFIG_ALLCONFIG={top}/tiny.config", "tinyconfig")
    with pytest.raises(PackagerError) as caught:
        bundle(top, tmp_path / "bench.run")
    assert f"make -C {top} modules_prepare" in caught.value.advice
    make(top, "-j2", "vmlinux", "modules")
    result = bundle(top, tmp_path / "bench.run")
    assert result.warnings == ()
    assert result.modules[0].info.vermagic.startswith(tree.probe(top).release)


def refusal(request: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> PackagerError:
    """Return why the tree is refused; nothing may have been started by then."""

    def started(command: Sequence[str], **_: object) -> process.Finished:
        raise AssertionError(f"started {command}")

    monkeypatch.setattr(process, "run", started)
    with pytest.raises(PackagerError) as caught:
        build(request)
    assert caught.value.exit_code == 3
    return caught.value


def test_a_clang_tree_wants_clang(
    built: kernels.FetchedKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = BuildRequest(built.kdir, output=tmp_path / "other.run", within=place(*built.trees))
    error = refusal(request, monkeypatch)
    assert "was built with clang" in error.message
    assert "--llvm 1" in error.advice


def hidden(*names: str) -> Callable[[str], str | None]:
    """Return a which() of the build root that lacks these programs."""
    return lambda program: None if program in names else build_root.find(program)


def test_a_compiler_that_is_not_there(
    built: kernels.FetchedKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Place(place(*built.trees).command, hidden("clang"))
    request = BuildRequest(built.kdir, output=tmp_path / "x.run", llvm="1", within=without)
    error = refusal(request, monkeypatch)
    assert "clang is not installed" in error.message
    assert "--cc" in error.advice

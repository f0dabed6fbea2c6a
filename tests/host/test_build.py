# SPDX-License-Identifier: GPL-2.0-only
"""Bundles out of a real kernel tree: repeatable, small, and silent about where they were made."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench import cli, resources
from page_alloc_bench.packager import manifest, process, tree
from page_alloc_bench.packager.build import (
    EMBEDDED,
    HOST,
    BuildRequest,
    BuildResult,
    build,
)
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import kernels

SMALL = 400_000  # bytes, for a bundle without a Python of its own


@pytest.fixture(scope="module")
def kernel() -> kernels.FetchedKernel:
    return kernels.fetch()


@pytest.fixture(scope="module")
def built(kernel: kernels.FetchedKernel, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """A bundle; all temporary files were beside it, where compile_commands.json is too."""
    place = tmp_path_factory.mktemp("built")
    commands = place / "compile_commands.json"
    request = BuildRequest(
        kernel.kdir, output=place / "bench.run", compile_commands=commands, python=HOST
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(place))
        return build(request)


@dataclass(frozen=True)
class OwnTree:
    """Headers that a test may change, a first bundle for them, and what building it said."""

    kdir: Path
    request: BuildRequest
    first: BuildResult
    said: list[str]


@pytest.fixture(scope="module")
def own_tree(kernel: kernels.FetchedKernel, tmp_path_factory: pytest.TempPathFactory) -> OwnTree:
    """A tree without Module.symvers whose kernel has been linked."""
    place = tmp_path_factory.mktemp("own")
    kdir = place / "linux"
    shutil.copytree(kernel.kdir, kdir, symlinks=True)
    for name in ("scripts", "tools"):  # links of Debian's that lead out of the tree
        if (kdir / name).is_symlink():
            (kdir / name).unlink()
            (kdir / name).symlink_to((kernel.kdir / name).resolve())
    (kdir / "Module.symvers").unlink()
    source = place / "x.c"
    source.write_text("int main(void) { return 0; }\n")
    link = ["gcc", "-Wl,--build-id=0x0123abcd", "-o", kdir / "vmlinux", source]
    subprocess.run(link, check=True)
    said: list[str] = []
    request = BuildRequest(kdir, output=place / "bench.run", python=HOST)
    return OwnTree(kdir, request, build(request, said.append), said)


def module_of(result: BuildResult) -> bytes:
    with zipfile.ZipFile(result.path) as archive:
        return archive.read(manifest.module_name(result.modules[0]))


def test_two_builds_agree_to_the_byte(
    kernel: kernels.FetchedKernel, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # make takes its environment for variables of its own: each of these would change the module.
    monkeypatch.setenv("OBJECT_FILES_NON_STANDARD", "y")
    monkeypatch.setenv("CFLAGS_MODULE", "-DX -O1")
    monkeypatch.setenv("KBUILD_EXTRA_SYMBOLS", "/nonexistent")
    monkeypatch.setenv("GNUMAKEFLAGS", "CONFIG_MODVERSIONS=")
    another = tmp_path / "another place"
    another.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(another))
    second = build(BuildRequest(kdir=kernel.kdir, output=another / "bench.run", python=EMBEDDED))
    assert bundle.read_bytes() == second.path.read_bytes()


def test_the_result_describes_the_bundle(
    kernel: kernels.FetchedKernel, bundle: Path, built: BuildResult
) -> None:
    (module,) = built.modules
    assert (module.info.release, module.info.machine) == (kernel.release, "x86_64")
    assert built.size == built.path.stat().st_size <= SMALL
    listed = subprocess.run([bundle, "--info"], capture_output=True, text=True, check=True)
    (entry,) = json.loads(listed.stdout)["modules"]
    assert entry["release"] == kernel.release
    assert entry["vermagic"].startswith(kernel.release + " ")
    assert "GCC" in entry["compiler"]
    for place in (built.path.parent, resources.kmod_dir(), kernel.kdir):
        assert str(place).encode() not in module_of(built)


def test_the_sources_stay_clean(bundle: Path) -> None:
    assert bundle.exists()
    left = [path.name for path in resources.kmod_dir().iterdir()]
    assert not [name for name in left if re.search(r"\.(o|ko|mod|cmd)$|symvers|order", name)]


def test_a_tree_without_symvers_builds_with_a_warning(
    kernel: kernels.FetchedKernel, own_tree: OwnTree
) -> None:
    assert "Module.symvers" in own_tree.first.warnings[0]
    assert own_tree.first.modules[0].info.release == kernel.release


def test_a_tree_that_has_changed_since_its_kernel_was_linked(own_tree: OwnTree) -> None:
    assert own_tree.first.modules[0].build["build_id"] == "0123abcd"
    assert not [line for line in own_tree.said if "has changed since" in line]
    # An option: what fixdep has put in the place of the whole configuration.
    (own_tree.kdir / "include/config/NUMA").touch()
    said: list[str] = []
    build_of = build(own_tree.request, said.append).modules[0].build
    assert (build_of["build_id"], build_of["version"]) == (None, None)
    assert build_of["config"]
    (line,) = [line for line in said if "has changed since" in line]
    assert "include/config/NUMA" in line


def test_a_wrong_flag_shows_the_compilers_own_words(
    kernel: kernels.FetchedKernel, tmp_path: Path
) -> None:
    output = tmp_path / "bench.run"
    request = BuildRequest(kdir=kernel.kdir, output=output, kcflags="-fnonsense")
    with pytest.raises(PackagerError) as caught:
        build(request)
    assert "-fnonsense" in caught.value.message
    assert not output.exists()


def test_compile_commands_name_the_real_sources(built: BuildResult) -> None:
    entries = json.loads((built.path.parent / "compile_commands.json").read_text())
    assert {Path(entry["file"]) for entry in entries} == set(resources.kmod_dir().rglob("*.c"))


def test_the_probe_knows_debians_tree(kernel: kernels.FetchedKernel) -> None:
    found = tree.probe(kernel.kdir)
    assert (found.release, found.arch) == (kernel.release, "x86")
    assert found.compiler.startswith("gcc")
    assert found.symvers


def test_a_compiler_that_is_not_there_is_named_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kdir = kernels.fetch("5.10").kdir  # bullseye's, whose compiler bookworm does not have
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "gcc-10" else which(name))

    def started(command: Sequence[str], **_: object) -> process.Finished:
        raise AssertionError(f"started {command}")

    monkeypatch.setattr(process, "run", started)
    with pytest.raises(PackagerError) as caught:
        build(BuildRequest(kdir, output=tmp_path / "bench.run"))
    assert (caught.value.exit_code, "gcc-10 is not installed" in caught.value.message) == (3, True)


# Several kernels.


def test_a_list_of_kernels_for_ci(tmp_path: Path) -> None:
    default, old = kernels.fetch(), kernels.fetch("5.10")
    listed = tmp_path / "kernels.toml"
    listed.write_text(
        f"""
        sbom = true
        [[kernel]]
        name = "default"
        kdir = "{default.kdir}"
        [[kernel]]
        name = "old"
        kdir = "{old.kdir}"
        cc = "gcc"
        [[kernel]]
        name = "broken"
        kdir = "{default.kdir}"
        kcflags = "-fnonsense"
        """
    )
    command = ["build", "--matrix-file", str(listed), "-o", str(tmp_path / "out"), "-q"]
    result = CliRunner().invoke(cli.main, [*command, "--python", HOST])
    assert result.exit_code == 1
    rows = [line.split()[:4] for line in result.stdout.splitlines()[1:]]
    assert rows == [
        ["default", "ok", default.release, "x86_64"],
        ["old", "ok", old.release, "x86_64"],
        ["broken", "failed", "-", "-"],
    ]
    assert "error: broken: " in result.stderr
    assert "-fnonsense" in result.stderr
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines()) == [
        "default.cdx.json", "default.run", "old.cdx.json", "old.run",
    ]  # fmt: skip
    assert not (tmp_path / "out/broken.run").exists()
    told = subprocess.run([tmp_path / "out/old.run", "--info"], capture_output=True, check=True)
    assert json.loads(told.stdout)["modules"][0]["release"] == old.release

# SPDX-License-Identifier: GPL-2.0-only
"""Bundles out of a real kernel tree: repeatable, small, and silent about where they were made."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import misleading
from page_alloc_bench import resources
from page_alloc_bench.packager import manifest, process, tree
from page_alloc_bench.packager.build import (
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
    """A bundle of whose making all temporary files, and compile_commands.json, were beside it."""
    place = tmp_path_factory.mktemp("another place")
    commands = place / "compile_commands.json"
    request = BuildRequest(
        kernel.kdir, output=place / "bench.run", compile_commands=commands, python=HOST
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(place))
        for name, value in misleading.FOR_MAKE.items():
            patch.setenv(name, value)
        return build(request)


def module_of(result: BuildResult) -> bytes:
    with zipfile.ZipFile(result.path) as archive:
        return archive.read(manifest.module_name(result.modules[0]))


def test_a_module_is_the_same_wherever_and_in_whatever_environment_it_is_built(
    bundle: Path, built: BuildResult
) -> None:
    with zipfile.ZipFile(bundle) as archive:
        (other,) = [name for name in archive.namelist() if name.endswith(".ko")]
        assert archive.read(other) == module_of(built)


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


def test_the_manifest_says_what_made_it(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        described = json.loads(archive.read("manifest.json"))
        runner = {
            name: archive.read(name)
            for name in archive.namelist()
            if name.startswith(("__main__.py", "site-packages/page_alloc_bench/"))
        }
        kmod = {
            name.partition("/")[2]: archive.read(name)
            for name in archive.namelist()
            if name.startswith("kmod/")
        }
        for part in described["parts"]:
            assert manifest.sha256(archive.read(part["name"])) == part["sha256"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", described["tool"]["version"])
    assert kmod == manifest.read_tree(resources.kmod_dir())
    assert described["source"] == {
        "kmod": manifest.source_digest(kmod),
        "runner": manifest.source_digest(runner),
    }
    (module,) = described["modules"]
    assert module["vermagic"].startswith(module["release"] + " ")
    assert module["machine"] == "x86_64"
    assert "12." in module["compiler"]


def test_the_sources_stay_clean(bundle: Path) -> None:
    assert bundle.exists()
    left = [path.name for path in resources.kmod_dir().iterdir()]
    assert not [name for name in left if re.search(r"\.(o|ko|mod|cmd)$|symvers|order", name)]


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

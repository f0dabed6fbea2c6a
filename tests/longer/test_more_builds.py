# SPDX-License-Identifier: GPL-2.0-only
"""Bundles out of a tree that has changed, and of a list of kernels."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench import cli
from page_alloc_bench.packager.build import HOST, BuildRequest, BuildResult, build
from page_alloc_bench.targets import kernels


@pytest.fixture(scope="module")
def kernel() -> kernels.FetchedKernel:
    return kernels.fetch()


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

# SPDX-License-Identifier: GPL-2.0-only
"""A bundle for a kernel of the list is built once; one for a tree, which may change, each time."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from own_trees import Tree
from page_alloc_bench import resources
from page_alloc_bench.outputs import OutputError
from page_alloc_bench.packager import build as packager
from page_alloc_bench.packager.build import BuildRequest
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import bootable, kernel_bundle
from page_alloc_bench.targets.bootable import Bootable

Builds = list[bytes]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Builds:
    """What the packager has built, which takes a kernel's headers otherwise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kernel_bundle.of_ours.cache_clear()
    made: Builds = []

    def build(request: BuildRequest, _progress: object) -> None:
        made.append(b"bundle %d" % len(made))
        request.output.write_bytes(made[-1])

    monkeypatch.setattr(packager, "build", build)
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "tree")


def of_list(tree: Tree) -> Bootable:
    return dataclasses.replace(bootable.of_tree(tree.top), of_list="6.1")


def test_for_a_kernel_of_the_list_it_is_built_once(
    builds: Builds, tree: Tree, tmp_path: Path
) -> None:
    for name in ("one.run", "two.run"):
        kernel_bundle.build(of_list(tree), tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"bundle 0"
        assert os.access(tmp_path / name, os.X_OK)
    assert len(builds) == 1


def test_for_a_kernel_that_was_fetched_anew_it_is_built_anew(
    builds: Builds, tree: Tree, tmp_path: Path
) -> None:
    kernel_bundle.build(of_list(tree), tmp_path / "one.run")
    kernel = of_list(tree)
    kernel.image.write_bytes(kernel.image.read_bytes() + b"\0")
    kernel_bundle.build(kernel, tmp_path / "two.run")
    assert (tmp_path / "two.run").read_bytes() == b"bundle 1"
    assert len(builds) == 2


@pytest.mark.parametrize(
    "name",
    [
        "__init__.py", "runner/run.py", "runner/result/schema.json", "packager/psutil.txt",
        "packager/build.py",
    ],
)  # fmt: skip
def test_with_whatever_of_ours_goes_into_it_another_one_is_built(
    builds: Builds, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kernel_bundle.build(of_list(tree), tmp_path / "one.run")
    ours = tmp_path / "ours"
    shutil.copytree(resources.PACKAGE, ours, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(resources, "PACKAGE", ours)
    kernel_bundle.of_ours.cache_clear()
    kernel_bundle.build(of_list(tree), tmp_path / "two.run")
    assert len(builds) == 1  # of what it is made, not where
    with (ours / name).open("a") as file:
        file.write("\n")
    kernel_bundle.of_ours.cache_clear()
    kernel_bundle.build(of_list(tree), tmp_path / "three.run")
    assert len(builds) == 2


def test_for_a_tree_it_is_built_each_time(builds: Builds, tree: Tree, tmp_path: Path) -> None:
    for name in ("one.run", "two.run"):
        kernel_bundle.build(bootable.of_tree(tree.top), tmp_path / name)
    assert (tmp_path / "two.run").read_bytes() == b"bundle 1"
    assert len(builds) == 2


def test_one_that_cannot_be_built_is_not_kept(
    builds: Builds, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packager.build

    def fail(_request: BuildRequest, _progress: object) -> None:
        raise PackagerError("no compiler")

    monkeypatch.setattr(packager, "build", fail)
    with pytest.raises(PackagerError):
        kernel_bundle.build(of_list(tree), tmp_path / "one.run")
    assert not (tmp_path / "one.run").exists()
    monkeypatch.setattr(packager, "build", whole)
    kernel_bundle.build(of_list(tree), tmp_path / "one.run")
    assert (tmp_path / "one.run").read_bytes() == builds[0]


def test_a_file_that_cannot_be_written_is_told(builds: Builds, tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        kernel_bundle.build(of_list(tree), tmp_path / "nowhere" / "one.run")
    assert builds

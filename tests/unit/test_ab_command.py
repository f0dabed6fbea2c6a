# SPDX-License-Identifier: GPL-2.0-only
"""ab by time from the command line: kernels that nobody builds or boots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import campaigns
from git_tree import commit, git, repository
from page_alloc_bench import jsonl
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.kernel_build import Builder
from page_alloc_bench.cli import main
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import bootable, kernel_bundle, timed
from page_alloc_bench.targets.outcome import Outcome


class Kernels:
    """Two kernels, old and new, of one speed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broken: set[str] = set()
        self.booted: Counter[str] = Counter()
        self._boots: dict[str, Iterator[float]] = {}
        for name in ("old", "new"):
            (directory / name).write_text(name)

    def find(self, name: str) -> Any:
        image = self.directory / name
        return SimpleNamespace(label=name, arch="amd64", release="6.1", image=image)

    def build(self, kernel: Any, path: Path) -> None:
        if kernel.label in self.broken:
            raise PackagerError("the module does not compile", "install its headers")
        path.write_text("bundle")

    def measure(self, _bundle: Path, image: Path, *_: Any, **__: Any) -> Outcome:
        self.booted[image.name] += 1
        seed = sum(map(ord, image.name))
        boots = self._boots.setdefault(image.name, campaigns.around(1.0, seed))
        return Outcome("ok", campaigns.result(next(boots)))

    def ab(self, *words: str, kept: bool = True) -> Result:
        given = ["--base", "old", "--new", "new", "--accel", "tcg"]
        given += ["--dir", str(self.directory / "kept")] if kept else []
        return CliRunner().invoke(main, ["ab", *given, *words])


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernels:
    made = Kernels(tmp_path)
    monkeypatch.setattr(bootable, "find", made.find)
    monkeypatch.setattr(kernel_bundle, "build", made.build)
    monkeypatch.setattr(timed, "measure", made.measure)
    return made


def test_what_did_not_build_goes_on_once_it_does(kernels: Kernels) -> None:
    kernels.broken = {"new"}
    done = kernels.ab()
    assert done.exit_code == 4, done.output
    assert "new: the module does not compile" in done.stderr
    assert not kernels.booted
    kernels.broken = set()
    done = kernels.ab()
    assert done.exit_code == 0, done.output
    assert "4 build-failed" not in done.stdout
    ends = {each["end"] for each in jsonl.read(kernels.directory / "kept/attempts.jsonl")}
    assert ends == {"ok"}


@pytest.mark.parametrize("kept", [True, False])
def test_after_a_budget_it_says_whether_the_same_command_goes_on(
    kernels: Kernels, *, kept: bool
) -> None:
    done = kernels.ab("--budget", "0.001s", kept=kept)
    assert done.exit_code == 2, done.output
    assert ("the same command goes on from here" in done.stderr) is kept
    assert ("nothing is kept: with --dir" in done.stderr) is not kept
    assert "ended: the time of --budget is over\n" in done.stdout


def test_noise_is_told_by_what_is_largest_against_its_threshold(kernels: Kernels) -> None:
    done = kernels.ab()
    assert "base against itself" in done.stdout
    said = " ".join(done.stdout.split())
    assert "every second boot: at most" not in said
    assert "the largest against its threshold is" in said


def test_one_revision_is_compared_with_itself(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = repository(tmp_path / "linux")
    commit(tree, "one", file_c="1\n")
    git(tree, "tag", "v1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Builder, "config", lambda _builder, _of: "CONFIG_SMP=y\n")
    monkeypatch.setattr(
        Builder,
        "build",
        lambda _builder, of: Built(of, "amd64", "6.1", tmp_path / "old", Path("b")),
    )
    words = ["v1", "--aa", "--tree", str(tree), "--cmdline-base", "quiet", "--accel", "tcg"]
    done = CliRunner().invoke(main, ["ab", *words, "--dir", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    labels = [line.partition(": ")[2] for line in done.stdout.splitlines()[1:3]]
    assert labels[0] == labels[1]
    assert labels[0].endswith(", quiet")
    assert kernels.booted.keys() == {"image"}

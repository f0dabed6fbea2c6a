# SPDX-License-Identifier: GPL-2.0-only
"""How ab and bisect take revisions: what is wrong is told before anything is built or booted."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from git_tree import commit, git, repository, state
from page_alloc_bench.cli import main

REFUSED = 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with v1, v2 after it, and side, which left the line at v1; no kernel."""
    path = repository(tmp_path_factory.mktemp("tree") / "not-linux")
    commit(path, "one", file_c="1\n")
    git(path, "tag", "v1")
    commit(path, "two", file_c="2\n")
    git(path, "tag", "v2")
    git(path, "checkout", "-q", "-b", "side", "v1")
    commit(path, "side", side_c="1\n")
    return path


def pab(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ab",), "give two revisions of --tree, or --base and --new"),
        (("ab", "v1"), "give two revisions"),
        (("ab", "v1", "v2", "side"), "give two revisions"),
        (("ab", "v1", "v2", "--base", "6.1"), "not both"),
        (("ab", "--base", "6.1", "--new", "6.1", "--tree", "."), "--tree is of revisions"),
        (("ab", "v1..v2"), "give two revisions"),
        (("ab", "v1", "v2", "--each"), "give one BASE..BRANCH with --each"),
        (("ab", "v2..v1", "--each"), "has no commits"),
        (("ab", "v1", "v3"), "has no revision 'v3'"),
        (("ab", "v1", "v2", "--config", "absent"), "there is no such file"),
        (("ab", "v1", "v2", "--make", "clean"), "give NAME=VALUE"),
        (("ab", "v1", "v2"), "is not the source of a kernel"),
        (("ab", "v1", "v2", "--cpus", "2"), "--exact has no --cpus"),
        (("bisect", "v1"), "give two revisions"),
        (("bisect", "v2", "v1"), "is not an ancestor"),
        (("bisect", "side", "v2"), "where they parted is"),
        (("bisect", "v1", "v2", "--metric", "pairs"), "what can be followed is exact_PATTERN_"),
        (("bisect", "v1", "v2"), "is not the source of a kernel"),
    ],
)
def test_wrong_revisions_are_refused(tree: Path, words: tuple[str, ...], said: str) -> None:
    before = state(tree)
    own = () if "--tree" in words else ("--tree", str(tree))
    done = pab(*words, "--exact", *own)
    assert done.exit_code == REFUSED, done.output
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert state(tree) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("v1", "v2"), "--aa compares one revision with itself: give one"),
        ((), "give one revision of --tree with --aa, or --base"),
        (("v1", "--cmdline-new", "x=1"), "leave out --new and --cmdline-new"),
        (("v1", "--base", "6.1"), "give one revision of --tree with --aa, or --base, not both"),
    ],
)
def test_aa_takes_one_kernel(tree: Path, words: tuple[str, ...], said: str) -> None:
    done = pab("ab", *words, "--aa", "--tree", str(tree))
    assert done.exit_code == REFUSED, done.output
    assert said in " ".join(done.stderr.split())


def test_each_commit_is_judged_by_instructions_only(tree: Path) -> None:
    done = pab("ab", "v1..v2", "--each", "--tree", str(tree))
    assert done.exit_code == REFUSED
    assert "--exact" in done.stderr

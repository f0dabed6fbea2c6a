# SPDX-License-Identifier: GPL-2.0-only
"""What is read from a user's git repository, and the copy of its source to build kernels in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from git_tree import commit, git, repository, state
from page_alloc_bench.campaign.revisions import Repository
from page_alloc_bench.campaign.source_copy import SourceCopy
from page_alloc_bench.targets.process import UsageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def linux(tmp_path: Path) -> Path:
    tree = repository(tmp_path / "my linux")
    commit(tree, "mm: begin", Makefile="all:\n", mm__page_c="one\n", old_h="x\n")
    git(tree, "tag", "v1")
    commit(tree, 'mm: say "two"', mm__page_c="two\n", old_h=None)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("run")
    commit(tree, "scripts: add run")
    return tree


def checked_out(copy: SourceCopy) -> dict[str, str]:
    return {
        str(path.relative_to(copy.source)): path.read_text()
        for path in copy.source.rglob("*")
        if path.is_file()
    }


def test_a_revision_is_whatever_git_takes_for_one(linux: Path) -> None:
    tree = Repository(linux)
    first = tree.commit("v1")
    assert first.sha == git(linux, "rev-parse", "v1")
    assert first.label == f'v1, {first.sha[:12]} ("mm: begin")'
    assert tree.commit("main~2").sha == tree.commit(first.sha[:10]).sha == first.sha
    assert tree.commit(first.sha[:10]).label == f'{first.sha[:12]} ("mm: begin")'


@pytest.mark.parametrize("wrong", ["v2", "--all", "", "v1:Makefile"])
def test_what_is_no_revision_is_told(linux: Path, wrong: str) -> None:
    with pytest.raises(UsageError, match="has no revision"):
        Repository(linux).commit(wrong)


def test_a_place_without_a_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        Repository(tmp_path)
    with pytest.raises(UsageError, match="not a directory"):
        Repository(tmp_path / "absent")


def test_a_series_is_each_commit_with_its_parent_the_oldest_first(linux: Path) -> None:
    pairs = Repository(linux).series("v1..main")
    assert [(a.subject, b.subject) for a, b in pairs] == [
        ("mm: begin", 'mm: say "two"'),
        ('mm: say "two"', "scripts: add run"),
    ]


@pytest.mark.parametrize("wrong", ["v1", "..main", "v1...main", "main..v1"])
def test_what_is_no_series_is_told(linux: Path, wrong: str) -> None:
    with pytest.raises(UsageError):
        Repository(linux).series(wrong)


def test_a_series_without_commits_is_told_with_one_that_may_be_meant(linux: Path) -> None:
    git(linux, "checkout", "-q", "v1")
    with pytest.raises(UsageError, match=r"main\.\. has no commits; is it HEAD\.\.main that you"):
        Repository(linux).series("main..")


def test_a_merge_is_not_of_a_series_but_what_it_merged_is(linux: Path) -> None:
    git(linux, "checkout", "-q", "-b", "topic", "v1")
    commit(linux, "topic: a", topic_c="a\n")
    git(linux, "checkout", "-q", "main")
    git(linux, "merge", "-q", "--no-edit", "topic")
    pairs = Repository(linux).series("v1..main")
    assert {b.subject: a.subject for a, b in pairs}["topic: a"] == "mm: begin"
    assert len(pairs) == 3


@pytest.mark.parametrize("kind", ["bare", "shared", "worktree", "shallow", "inside"])
def test_any_kind_of_repository_is_checked_out(linux: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / kind
    if kind == "worktree":
        git(linux, "worktree", "add", "-q", str(other), "v1")
    elif kind == "inside":
        other = linux / "mm"
    else:
        option = {"bare": "--bare", "shared": "--shared", "shallow": "--depth=1"}[kind]
        git(tmp_path, "clone", "-q", option, f"file://{linux}" if kind == "shallow" else str(linux),
            str(other))  # fmt: skip
    before = state(tmp_path / kind if other.name == kind else linux), state(linux)
    tree = Repository(other)
    copy = SourceCopy(tree)
    with copy.alone():
        copy.checkout(tree.commit("main" if kind != "shallow" else "HEAD").tree)
    assert checked_out(copy)["mm/page.c"] == "two\n"
    assert (state(tmp_path / kind if other.name == kind else linux), state(linux)) == before


def test_clones_that_share_objects_share_the_copy(linux: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--shared", str(linux), str(tmp_path / "other"))
    one, other = (SourceCopy(Repository(path)) for path in (linux, tmp_path / "other"))
    assert one.directory == other.directory


def test_the_users_repository_is_as_before(
    linux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Work under way: staged, not staged and untracked, and times that the index does not know.
    (linux / "mm/page.c").write_text("three\n")
    git(linux, "add", "mm/page.c")
    (linux / "Makefile").write_text("all: x\n")
    (linux / "new.c").write_text("new\n")
    os.utime(linux / "run", (1, 1))
    before = state(linux)
    # As in `git rebase --exec` and in hooks.
    monkeypatch.setenv("GIT_DIR", str(linux / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(linux / ".git/index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(linux))
    tree = Repository(linux)
    copy = SourceCopy(tree)
    with copy.alone():
        for name in ("v1", "main", "v1"):
            copy.checkout(tree.commit(name).tree)
    tree.series("v1..main")
    tree.suspects([tree.commit("v1").sha], tree.commit("main").sha)
    tree.require_ancestor(tree.commit("v1"), tree.commit("main"))
    assert tree.uncommitted([tree.commit("main")])
    assert not tree.uncommitted([tree.commit("v1")])
    assert state(linux) == before
    assert checked_out(copy) == {"Makefile": "all:\n", "mm/page.c": "one\n", "old.h": "x\n"}


def test_only_what_differs_is_written(linux: Path) -> None:
    tree = Repository(linux)
    copy = SourceCopy(tree)
    with copy.alone():
        copy.checkout(tree.commit("v1").tree)
        same = (copy.source / "Makefile").stat().st_mtime_ns
        changed = (copy.source / "mm/page.c").stat().st_mtime_ns
        copy.checkout(tree.commit("main").tree)
    assert (copy.source / "Makefile").stat().st_mtime_ns == same
    assert (copy.source / "mm/page.c").stat().st_mtime_ns > changed
    assert not (copy.source / "old.h").exists()
    assert (copy.source / "run").stat().st_mode & 0o111
    assert (copy.source / "link").readlink() == Path("run")


def test_what_a_killed_checkout_left_is_put_right(linux: Path) -> None:
    tree = Repository(linux)
    copy = SourceCopy(tree)
    with copy.alone():
        copy.checkout(tree.commit("v1").tree)
        (copy.directory / "git/index.lock").write_text("")
        (copy.source / "mm/page.c").write_text("half")
        (copy.source / "Makefile").unlink()
        copy.checkout(tree.commit("v1").tree)
    assert checked_out(copy)["mm/page.c"] == "one\n"
    assert checked_out(copy)["Makefile"] == "all:\n"


def test_the_users_settings_do_not_change_the_source(
    linux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[core]\n\tautocrlf = true\n\thooksPath = /nonexistent\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    git(linux, "config", "core.autocrlf", "true")
    tree = Repository(linux)
    copy = SourceCopy(tree)
    with copy.alone():
        copy.checkout(tree.commit("v1").tree)
    assert (copy.source / "mm/page.c").read_bytes() == b"one\n"


def test_revisions_without_a_common_line_cannot_be_bisected(linux: Path) -> None:
    git(linux, "checkout", "-q", "-b", "side", "v1")
    commit(linux, "side", side_c="a\n")
    tree = Repository(linux)
    with pytest.raises(UsageError, match=f"where they parted is {tree.commit('v1').short}"):
        tree.require_ancestor(tree.commit("side"), tree.commit("main"))
    with pytest.raises(UsageError, match="not an ancestor"):
        tree.require_ancestor(tree.commit("main"), tree.commit("v1"))

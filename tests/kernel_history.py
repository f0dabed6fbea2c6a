# SPDX-License-Identifier: GPL-2.0-only
"""A git repository with the source of a real kernel, and patches to it: what a user comes with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from page_alloc_bench.space import Room
from page_alloc_bench.targets import cache, source_kernel

VERSION, SUITES = "6.1", ("bookworm", "bookworm-security")
# What all of it is built with: one directory of objects serves it.
CONFIG, FRAGMENT = "allnoconfig", Path(__file__).parent / "matrix/minimal.config"
PAGE_ALLOC = "mm/page_alloc.c"
# Once in it each: the beginning of a statement of __alloc_pages(), and what is before its head.
MASK = "\tgfp &= gfp_allowed_mask;\n\t/*\n\t * Apply scoped allocation constraints."
HEART = (
    "/*\n * This is the 'heart' of the zoned buddy allocator.\n */\n"
    "struct page *__alloc_pages(gfp_t gfp, unsigned int order,"
)
_WORK = """\
noinline void planted_work(void)
{{
	int i;

	for (i = 0; i < {times}; i++)
		barrier();
}}

"""
_COMMENT = "First allocation attempt"
# The same commits each time that they are made.
_WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "A Developer"),
        ("EMAIL", "a@example.org"),
        ("DATE", "2026-01-01T00:00:00Z"),
    )
}


def git(directory: Path, *words: str, stdin: str | None = None, **environment: str) -> str:
    """Run git in DIRECTORY and return what it says."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(directory), *words],
        input=stdin,
        env={**own, "GIT_CONFIG_GLOBAL": os.devnull, **_WHO, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def base() -> Path:
    """Return a bare repository whose branch base is Debian's kernel source, made in the cache."""
    source = source_kernel.source(VERSION, SUITES)

    def make(temporary: Path, _final: Path) -> None:
        git(temporary, "init", "-q", "--bare", "-b", "base", "linux.git")
        bare = temporary / "linux.git"
        git(bare, "config", "core.compression", "0")
        git(bare, "config", "gc.auto", "0")
        work = {"GIT_DIR": str(bare), "GIT_WORK_TREE": str(source)}
        git(source, "add", "-A", "-f", ".", **work)
        git(source, "commit", "-q", "-m", f"Debian's kernel {VERSION}", **work)
        (bare / "index").unlink()

    key = f"history-{VERSION}-{cache.digest(str(source))}"
    room = Room(3000, 150_000)
    return cache.entry("sources", key, make, f"a repository of the kernel {VERSION}", room=room) / (
        "linux.git"
    )


Edits = Sequence[tuple[str, str]]


def work(times: int) -> Edits:
    """Return edits to PAGE_ALLOC that have each allocation loop so often, in planted_work()."""
    planted = _WORK.format(times=times)
    return [(HEART, planted + HEART), (MASK, "\tplanted_work();\n" + MASK)]


class History:
    """A repository of its own that shares the objects of base(); commits are made without a tree.

    ``path``: what ``--tree`` is given.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        git(path.parent, "clone", "-q", "--bare", "--shared", str(base()), str(path))

    def options(self) -> list[str]:
        """Return what tells the command line of this repository, and how it is built."""
        own = ["--tree", self.path, "--config", CONFIG, "--fragment", FRAGMENT]
        return list(map(str, own))

    def commit(self, branch: str, parent: str, subject: str, files: Mapping[str, Edits]) -> str:
        """Add a commit to BRANCH, on top of PARENT, and return its hash.

        FILES: path → texts that are in it once, each with what replaces it.
        """
        index = {"GIT_INDEX_FILE": str(self.path / f"index.{branch}")}
        git(self.path, "read-tree", parent, **index)
        for path, edits in files.items():
            text = self.text(parent, path)
            for old, new in edits:
                assert text.count(old) == 1, f"{path} has it {text.count(old)} times: {old!r}"
                text = text.replace(old, new)
            blob = git(self.path, "hash-object", "-w", "--stdin", stdin=text)
            git(self.path, "update-index", "--cacheinfo", f"100644,{blob},{path}", **index)
        tree = git(self.path, "write-tree", **index)
        made = git(self.path, "commit-tree", tree, "-p", parent, "-m", subject)
        git(self.path, "update-ref", f"refs/heads/{branch}", made)
        (self.path / f"index.{branch}").unlink()
        return made

    def series(self, number: int, culprit: int, word: str = "") -> None:
        """Add a branch `series` of NUMBER commits on base, of which CULPRIT adds work(20).

        The others change a comment, which WORD is in: with another word they are other trees.
        """
        parent, text = "base", _COMMENT
        for at in range(1, number + 1):
            new = f"{_COMMENT}, {word}{at}"
            edits = work(20) if at == culprit else [(f"/* {text} */", f"/* {new} */")]
            text = text if at == culprit else new
            parent = self.commit("series", parent, f"commit {at}", {PAGE_ALLOC: edits})

    def text(self, commit: str, path: str) -> str:
        """Return a file as it is in COMMIT."""
        return git(self.path, "cat-file", "blob", f"{commit}:{path}") + "\n"

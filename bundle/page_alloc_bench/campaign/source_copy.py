# SPDX-License-Identifier: GPL-2.0-only
"""A copy of a kernel's source that is ours: any tree of a repository, which is read only.

A git directory in the cache borrows the repository's objects. From one tree to another only the
files that differ are written, so that make compiles little.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from page_alloc_bench import space
from page_alloc_bench.campaign.revisions import Repository, environment
from page_alloc_bench.space import Room
from page_alloc_bench.targets import cache
from page_alloc_bench.targets.process import CommandError, TargetError, need, run

_ROOM = Room(4000, 120_000)  # a kernel's source, and the objects of a small configuration


class SourceCopy:
    """The copy for REPOSITORY and for all that share its objects.

    ``source``: where the files are. ``directory``: where objects of builds have room.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        key = hashlib.sha256(os.fsencode(repository.origin())).hexdigest()[:12]
        self.directory = cache.cache_dir() / "trees" / key
        self.source = self.directory / "linux"
        self._git_dir = self.directory / "git"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from this copy for as long as the block takes."""
        try:
            self.source.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"cannot make {self.source}: {error.strerror}") from error
        with cache.lock(self.directory / "lock", f"a kernel in {self.directory}"):
            yield

    def checkout(self, tree: str) -> None:
        """Make the copy that of a TREE, a hash; call it in alone().

        What a killed process left behind is put right. Raises TargetError.
        """
        if not (self._git_dir / "index").exists():
            lacking = space.shortage(self.directory, _ROOM)
            if lacking:
                raise TargetError(f"a copy of the kernel's source {lacking}")
        try:
            if not (self._git_dir / "HEAD").exists():
                self._git("init", "-q")
            borrowed = self._git_dir / "objects/info/alternates"
            borrowed.parent.mkdir(parents=True, exist_ok=True)
            borrowed.write_text(f"{_quoted(self._repository.objects())}\n")
            (self._git_dir / "index.lock").unlink(missing_ok=True)
            self._git("read-tree", "--reset", "-u", tree)
        except CommandError as error:
            raise TargetError(f"cannot check out {tree}: {error}") from error

    def _git(self, *words: str) -> None:
        # Neither filters nor hooks nor line ends of the user's configuration.
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = [
            need("git", "git"),
            f"--git-dir={self._git_dir}",
            f"--work-tree={self.source}",
            *words,
        ]
        run(command, cwd=self.source, env=environment(own))


def _quoted(path: Path) -> str:
    """Return PATH as git reads it in its list of alternates."""
    text = str(path)
    if text[:1] != '"' and "\n" not in text:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

# SPDX-License-Identifier: GPL-2.0-only
"""What a git repository of a kernel says: its commits and their order. Nothing is written there."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets.process import CommandError, UsageError, need, run

_SHORT = 12  # digits of a hash, as the kernel's Documentation/process/submitting-patches.rst asks
_LABEL, _LEAST_SUBJECT = 66, 12  # characters
_FIELDS = "%H%x00%T%x00%s"


@dataclass(frozen=True)
class Commit:
    """A commit. name: what the user called it, or its short hash. sha and tree: hexadecimal."""

    name: str
    sha: str
    tree: str
    subject: str

    @property
    def short(self) -> str:
        """Return the hash as people quote it."""
        return self.sha[:_SHORT]

    @property
    def short_tree(self) -> str:
        """Return the hash of the tree, short: what a kernel is told apart by."""
        return self.tree[:_SHORT]

    @property
    def label(self) -> str:
        """Return what to call it in a verdict, in one line of a letter."""
        head = self.short if self.sha.startswith(self.name) else f"{self.name}, {self.short}"
        room = max(_LABEL - len(head) - len(' ("")'), _LEAST_SUBJECT)
        return f'{head} ("{textwrap.shorten(self.subject, room, placeholder="...")}")'


class Repository:
    """The repository that PATH is in, bare or not, a worktree, a shallow or a shared clone.

    Raises UsageError where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        if not self.path.is_dir():
            raise UsageError(f"{path} is not a directory: give --tree a git repository of a kernel")
        try:
            self._git("rev-parse", "--git-dir")
        except CommandError as error:
            raise UsageError(f"{path} is not a git repository: {_said(error)}") from error

    def commit(self, text: str) -> Commit:
        """Return the commit that TEXT names, in any way that git knows. Raises UsageError."""
        try:
            sha = self._git("rev-parse", "--verify", "--end-of-options", f"{text}^{{commit}}")
        except CommandError as error:
            raise UsageError(f"{self.path} has no revision {text!r}: {_said(error)}") from error
        return self._described(sha, text)

    def series(self, text: str) -> list[tuple[Commit, Commit]]:
        """Return the commits of A..B without merges, the oldest first, each with its parent.

        Raises UsageError for what is not a range, or an empty one.
        """
        first, dots, last = text.partition("..")
        if not dots or not first or last.startswith("."):
            raise UsageError(f"{text!r} is not a series: give BASE..BRANCH")
        start, end = self.commit(first), self.commit(last or "HEAD")
        lines = self._git(
            "rev-list", "--reverse", "--topo-order", "--no-merges", "--parents",
            end.sha, f"^{start.sha}",
        ).splitlines()  # fmt: skip
        if not lines:
            raise UsageError(
                f"{text} has no commits; is it {last or 'HEAD'}..{first} that you mean?"
            )
        pairs = []
        for line in lines:
            sha, *parents = line.split()
            if not parents:
                raise UsageError(
                    f"the parent of {sha[:_SHORT]} is not here (a shallow clone?): "
                    "git fetch --deepen=1"
                )
            pairs.append((self._described(parents[0]), self._described(sha)))
        return pairs

    def require_ancestor(self, old: Commit, new: Commit) -> None:
        """Raise UsageError unless NEW descends from OLD."""
        try:
            base = self._git("merge-base", old.sha, new.sha)
        except CommandError as error:
            raise UsageError(f"{old.name} and {new.name} have no history in common") from error
        if base != old.sha:
            raise UsageError(
                f"{old.name} is not an ancestor of {new.name}; where they parted is {base[:_SHORT]}"
                ": give that instead"
            )

    def suspects(self, good: Iterable[str], bad: str) -> list[str]:
        """Return the commits that BAD has and GOOD do not; those that halve them best come first.

        BAD itself comes last.
        """
        lines = self._git("rev-list", "--bisect-all", bad, *(f"^{sha}" for sha in good))
        shas = [line.split()[0] for line in lines.splitlines()]
        return [*(sha for sha in shas if sha != bad), bad]

    def has(self, commit: Commit, path: str) -> bool:
        """Return whether a file is in a commit."""
        return bool(self._git("ls-tree", "--full-tree", "--name-only", commit.tree, "--", path))

    def parent(self, sha: str) -> Commit:
        """Return the first parent of a commit."""
        return self.commit(f"{sha}^")

    def about(self, sha: str) -> Commit:
        """Return what is known of a commit by its hash."""
        return self._described(sha)

    def authored(self, sha: str) -> str:
        """Return who wrote a commit, and when, in one line."""
        return self._git("show", "-s", "--no-show-signature", "--format=%an <%ae>, %as", sha)

    def uncommitted(self, commits: Iterable[Commit]) -> bool:
        """Return whether one of COMMITS is checked out with changes that are not committed."""
        try:
            head = self._git("rev-parse", "--verify", "HEAD")
            if head not in {commit.sha for commit in commits}:
                return False
            return bool(self._git("status", "--porcelain", "--untracked-files=no"))
        except CommandError:
            return False  # bare, or nothing is checked out

    def objects(self) -> Path:
        """Return the directory of its objects."""
        path = self._git("rev-parse", "--git-path", "objects")
        return Path(os.path.realpath(self.path / path))

    def origin(self) -> Path:
        """Return the directory of objects that it, and all that share them, borrow from."""
        found = self.objects()
        while (borrowed := found / "info/alternates").is_file():
            lines = [
                line for line in borrowed.read_text().splitlines() if line[:1] not in ("", "#")
            ]
            if not lines:
                break
            found = Path(os.path.realpath(found / lines[0]))
        return found

    def _described(self, sha: str, name: str = "") -> Commit:
        text = self._git("show", "-s", "--no-show-signature", f"--format={_FIELDS}", sha)
        sha, tree, subject = text.split("\0", 2)
        return Commit(name or sha[:_SHORT], sha, tree, subject)

    def _git(self, *words: str) -> str:
        git = [need("git", "git"), "-C", str(self.path), "-c", "core.fsmonitor=false"]
        return run([*git, *words], env=environment()).stdout.strip()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which git means what its command line says, and writes nothing.

    `git rebase --exec` and hooks set GIT_DIR and more.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {
        **own,
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        # What a partial clone lacks is not fetched into it.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **(more or {}),
    }


def _said(error: CommandError) -> str:
    """Return the line with which git says why."""
    lines: Sequence[str] = error.output.strip().splitlines() or [str(error)]
    return re.sub(r"^(fatal|error): ", "", lines[0])

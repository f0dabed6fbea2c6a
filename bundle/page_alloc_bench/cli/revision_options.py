# SPDX-License-Identifier: GPL-2.0-only
"""The options with which revisions of a git tree are named and built, and the kernels they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from page_alloc_bench.campaign import kernel_config
from page_alloc_bench.campaign.build_cache import Built, NotBuilt
from page_alloc_bench.campaign.kernel_build import Builder, ConfigError
from page_alloc_bench.campaign.revisions import Commit, Repository
from page_alloc_bench.cli.common import DIRECTORY, complain
from page_alloc_bench.targets import cache
from page_alloc_bench.targets.cache import note

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MOST_DIFFERENCES = 8  # told on stderr; all are kept

_OPTIONS = (
    click.option(
        "--tree",
        type=DIRECTORY,
        metavar="DIR",
        help="The git repository of the revisions. It is only read.",
    ),
    click.option(
        "--config",
        default=kernel_config.DEFAULT,
        metavar="FILE|TARGET|running",
        show_default=True,
        help="Build with this .config, one that make has a target for, or this host's.",
    ),
    click.option(
        "--fragment",
        "fragments",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Options that come after those of --config. Repeatable.",
    ),
    click.option(
        "--make",
        "make_words",
        multiple=True,
        metavar="NAME=VALUE",
        help="For make's command line, such as LLVM=1. Repeatable.",
    ),
    click.option("--rebuild", is_flag=True, help="Build again what did not build."),
)


def options(command: _Command) -> _Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Asked:
    """What the options say."""

    tree: Path | None
    config: str
    fragments: tuple[Path, ...]
    make_words: tuple[str, ...]
    rebuild: bool
    jobs: int | None

    def repository(self) -> Repository:
        """Return the repository. Raises UsageError."""
        return Repository(self.tree or Path())


class Kernels:
    """The kernels of revisions: configured, held against each other, built.

    Raises TargetError and UsageError.
    """

    def __init__(self, asked: Asked, repository: Repository, first: Commit) -> None:
        self._asked = kernel_config.asked(asked.config, asked.fragments, asked.make_words)
        self.builder = Builder(
            repository, self._asked, first, jobs=asked.jobs, again=asked.rebuild, note=note
        )
        self._configs: dict[str, str] = {}

    def plan(self, commits: Sequence[Commit]) -> dict[str, Any]:
        """Return what a plan has of the revisions and of how they are built."""
        asked = self._asked
        return {
            "revisions": [commit.sha for commit in commits],
            "configuration": cache.digest(asked.base, *asked.fragments),
            "make": list(asked.make),
            "compiler": self.builder.compiler,
        }

    def compare_configs(self, base: Commit, new: Commit) -> list[kernel_config.Difference]:
        """Return the options that differ, and tell of them; refuse those for debugging."""
        try:
            before, after = self._config(base), self._config(new)
        except ConfigError:
            return []  # the build says why
        names = base.name, new.name
        kernel_config.require_comparable(before, after, names)
        found = kernel_config.differences(before, after)
        if found:
            rows = [f"{d.symbol} {d.base} -> {d.new}" for d in found[:_MOST_DIFFERENCES]]
            more = f" and {len(found) - len(rows)} more" if len(found) > len(rows) else ""
            note(
                f"the configurations of {base.name} and {new.name} differ in {len(found)} "
                f"options: {', '.join(rows)}{more}"
            )
        return found

    def _config(self, commit: Commit) -> str:
        if commit.sha not in self._configs:
            self._configs[commit.sha] = self.builder.config(commit)
            lost = kernel_config.lost(self._asked, self._configs[commit.sha])
            if lost:
                note(
                    f"warning: {commit.name} does not keep {', '.join(lost)} of the fragments: "
                    "an option that they depend on is off, or one that needs them is on"
                )
        return self._configs[commit.sha]

    def build(self, commit: Commit) -> Built | NotBuilt:
        """Return the kernel of a commit; say it if it does not build."""
        built = self.builder.build(commit)
        if isinstance(built, NotBuilt):
            complain(
                f"{commit.label} does not build: {built.reason}",
                f"less {built.log}; what failed for want of a tool here is built again with "
                "--rebuild",
            )
        return built


def warn_of_uncommitted(repository: Repository, commits: Sequence[Commit]) -> None:
    """Say it where what is checked out has changes that no commit has."""
    if repository.uncommitted(commits):
        note(f"warning: changes in {repository.path} that are not committed are not measured")

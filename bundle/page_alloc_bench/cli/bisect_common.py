# SPDX-License-Identifier: GPL-2.0-only
"""What a bisection needs whatever it judges by: two revisions, their kernels, and its verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from page_alloc_bench.campaign import bisection
from page_alloc_bench.campaign.bisection import Found, Step, Steps
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.revisions import Commit, Repository
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS, TROUBLE, UNKNOWN
from page_alloc_bench.cli import ab_revisions
from page_alloc_bench.cli.revision_options import Kernels
from page_alloc_bench.targets.cache import note

FOUND, NOTHING = range(2)

# Returns the lines on what a commit changed, and the same for programs.
About = Callable[[Commit], tuple[Sequence[str], Mapping[str, Any]]]


@dataclass(frozen=True)
class Bisection:
    """What lies between two revisions, and the directory that keeps what is done about it."""

    directory: Path
    repository: Repository
    kernels: Kernels
    good: Commit
    bad: Commit

    def begin(self, mode: str, asked: Mapping[str, Any]) -> Journal:
        """Write the plan, or go on with it. Raises CampaignError."""
        journal = Journal(self.directory)
        plan = {**asked, **self.kernels.plan([self.good, self.bad]), "mode": mode}
        if journal.begin(plan):
            note(f"going on with {self.directory}")
        self.kernels.compare_configs(self.good, self.bad)
        return journal

    def ends(self) -> tuple[Built, Built] | int:
        """Return the kernels of GOOD and BAD; or the exit code where one does not build."""
        good = self.kernels.build(self.good)
        if not isinstance(good, Built):
            return TROUBLE
        bad = self.kernels.build(self.bad)
        return (good, bad) if isinstance(bad, Built) else NEW_FAILS

    def search(self, good: Built, step: Step) -> Found:
        """Return the commit that STEP finds."""
        return bisection.search(
            self.repository, good, self.bad,
            prepare=self.kernels.builder.build, step=step, steps=Steps(self.directory), note=note,
        )  # fmt: skip

    def tell(self, found: Found, about: About) -> int:
        """Print the commit, or those of which it is one; keep it; return the exit code.

        What is ABOUT it comes after it, for that may take boots, which may fail.
        """
        lines = [f"after {found.steps} steps:"]
        document: dict[str, Any] = {
            "suspects": [commit.sha for commit in found.suspects],
            "steps": found.steps,
        }
        if len(found.suspects) == 1:
            (commit,) = found.suspects
            lines = [f"{commit.sha} is the first bad commit, {lines[0][:-1]}"]
            lines += [f"  {commit.subject}", f"  {self.repository.authored(commit.sha)}"]
            _print(lines)
            self._keep(lines, document)
            changed, more = about(commit)
            _print(changed)
            self._keep([*lines, *changed], {**document, **more})
            return FOUND
        lines.append("it is one of these, and the others could not be measured:")
        lines += [f"  {commit.label}" for commit in found.suspects]
        _print(lines)
        self._keep(lines, document)
        return UNKNOWN

    def _keep(self, lines: Sequence[str], document: Mapping[str, Any]) -> None:
        (self.directory / "verdict.txt").write_text(_joined(lines))
        (self.directory / "verdict.json").write_text(json.dumps(document, indent=1) + "\n")


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _print(lines: Sequence[str]) -> None:
    click.echo(_joined(lines), nl=False)
    sys.stdout.flush()


def between(directory: Path, revisions: Sequence[str], options: dict[str, Any]) -> Bisection:
    """Return what is to be bisected. Raises UsageError."""
    asked = ab_revisions.asked(options)
    repository = asked.repository()
    good, bad = map(repository.commit, revisions)
    repository.require_ancestor(good, bad)
    return Bisection(directory, repository, Kernels(asked, repository, good), good, bad)

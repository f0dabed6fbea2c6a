# SPDX-License-Identifier: GPL-2.0-only
"""Find the commit between GOOD and BAD that made the difference; the same command goes on.

A step is a function: GOOD and another kernel in, a verdict out. How it is measured is not known
here. DIR/steps.jsonl has a line for each step; to take a step again, remove its line and those
below it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from page_alloc_bench import jsonl
from page_alloc_bench.campaign.build_cache import Built, NotBuilt
from page_alloc_bench.campaign.journal import CampaignError
from page_alloc_bench.campaign.revisions import Commit
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets.process import UsageError

GOOD, BAD, SKIP = "good", "bad", "skip"
_STEPS = "steps.jsonl"
_OF_STEP = ("commit", "verdict", "why")


@dataclass(frozen=True)
class Outcome:
    """What a step concludes. verdict: GOOD, BAD, or SKIP where it cannot tell. why: one line."""

    verdict: str
    why: str


Step = Callable[[Built, Built], Outcome]
Prepare = Callable[[Commit], "Built | NotBuilt"]


class History(Protocol):
    """What is asked of a repository: revisions.Repository has it."""

    def suspects(self, good: list[str], bad: str) -> list[str]:
        """Return the commits that BAD has and GOOD do not, the best to try first, BAD last."""

    def about(self, sha: str) -> Commit:
        """Return what is known of a commit."""


@dataclass(frozen=True)
class Found:
    """The commit, or those of which it is one where some could not be told. steps: taken in all."""

    suspects: tuple[Commit, ...]
    steps: int


class Steps:
    """The steps that were taken, in the directory of a campaign."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _STEPS

    def read(self) -> dict[str, Outcome]:
        """Return the outcomes by the hash of their commit; a line that was cut off is left out."""
        steps = [step for step in jsonl.read(self._path) if step.keys() >= {*_OF_STEP}]
        return {step["commit"]: Outcome(step["verdict"], step["why"]) for step in steps}

    def add(self, commit: Commit, outcome: Outcome) -> None:
        """Keep the outcome of a step. Raises CampaignError."""
        row = {"commit": commit.sha, "subject": commit.subject, **asdict(outcome)}
        try:
            jsonl.append(self._path, row)
        except OSError as error:
            raise CampaignError(f"{self._path} cannot be written: {error}") from error


def search(
    history: History,
    good: Built,
    bad: Commit,
    *,
    prepare: Prepare,
    step: Step,
    steps: Steps,
    note: Callable[[str], object],
) -> Found:
    """Halve what lies between GOOD and BAD until one commit is left, or none that can be told.

    PREPARE builds a commit. One that does not build, could not be booted, or that our module does
    not build for is skipped, as is one that STEP cannot judge.
    """
    goods, worst, skipped = [good.commit.sha], bad.sha, set[str]()
    taken = 0
    while True:
        suspects = history.suspects(goods, worst)
        left = [sha for sha in suspects[:-1] if sha not in skipped]
        if not left:
            return Found(tuple(map(history.about, suspects)), taken)
        commit = history.about(left[0])
        note(f"{len(suspects)} commits left; trying {commit.label}")
        taken += 1
        outcome = steps.read().get(commit.sha)
        if outcome is None:
            outcome = _outcome(good, commit, prepare, step)
            steps.add(commit, outcome)
        note(f"{commit.short}: {outcome.verdict}: {outcome.why}")
        if outcome.verdict == GOOD:
            goods.append(commit.sha)
        elif outcome.verdict == BAD:
            worst = commit.sha
        else:
            skipped.add(commit.sha)


def _outcome(good: Built, commit: Commit, prepare: Prepare, step: Step) -> Outcome:
    try:
        built = prepare(commit)
    except (PackagerError, UsageError) as error:
        return Outcome(SKIP, f"it cannot be measured: {str(error).partition(chr(10))[0]}")
    if isinstance(built, NotBuilt):
        return Outcome(SKIP, f"it does not build: {built.reason.splitlines()[0]}")
    return step(good, built)

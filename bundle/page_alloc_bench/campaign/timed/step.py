# SPDX-License-Identifier: GPL-2.0-only
"""A step of a bisection by time: a campaign of GOOD against the kernel in question.

The permitted error is divided by the number of steps, so that all of them together err no more
often than one comparison. A step that cannot tell in all its boots is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_alloc_bench.analysis.campaign_directory import read
from page_alloc_bench.analysis.verdict.states import NO_REGRESSION, REGRESSION
from page_alloc_bench.campaign.bisection import BAD, GOOD, SKIP, Outcome
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.timed import plan
from page_alloc_bench.campaign.timed.loop import Boots, Campaign
from page_alloc_bench.campaign.timed.verdict import exit_code

_WORDS = {NO_REGRESSION: GOOD, REGRESSION: BAD}


@dataclass(frozen=True)
class Told:
    """What a step says. why: in a line. confidence: of this step; those of all are multiplied."""

    verdict: str
    why: str
    confidence: float


def number(commits: int) -> int:
    """Return how many steps it takes at most to find one of so many commits."""
    return max(1, math.ceil(math.log2(max(1, commits))))


def take(
    directory: Path,
    good: Boots,
    new: Boots,
    asked: Mapping[str, Any],
    *,
    steps: int,
    most: int,
    note: Callable[[str], object],
) -> Told:
    """Hold NEW against GOOD in a directory of its own; go on with what is there.

    asked: what a plan has, as of a single comparison. steps: how many there may be. most: boots a
    side. Raises CampaignError, and what a comparison raises.
    """
    confidence = 1 - (1 - asked["confidence"]) / steps
    journal = Journal(directory)
    plan.begin(journal, {**asked, "confidence": confidence}, most=most, seed=None)
    ending = Campaign(journal, {"base": good, "new": new}, note=note).run()
    verdict = _WORDS.get(exit_code(read(directory), ending), SKIP)
    made = ending.judgement.comparison
    why = ending.text if verdict == SKIP or made is None else made.sentence
    return Told(verdict, why, confidence if verdict != SKIP else 1.0)


def together(told: list[Told]) -> float:
    """Return the confidence of all steps together."""
    return math.prod(each.confidence for each in told)


@dataclass(frozen=True)
class TimedStep:
    """A step as bisection.search() takes it, each in a directory of its own below DIRECTORY.

    side: makes what is booted of the name of a side, and a kernel. asked, steps, most: as in
    take().
    """

    directory: Path
    side: Callable[[str, Built], Boots]
    asked: Mapping[str, Any]
    steps: int
    most: int
    note: Callable[[str], object]

    def __call__(self, good: Built, new: Built) -> Outcome:
        """Hold NEW against GOOD, both booted by turns."""
        told = take(
            self.directory / new.commit.sha,
            self.side("base", good),
            self.side("new", new),
            self.asked,
            steps=self.steps,
            most=self.most,
            note=self.note,
        )
        return Outcome(told.verdict, told.why)

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

from page_alloc_bench.analysis import thresholds
from page_alloc_bench.analysis.campaign_directory import read
from page_alloc_bench.analysis.compare import CompareError
from page_alloc_bench.analysis.comparison import Comparison, Row
from page_alloc_bench.analysis.thresholds import Thresholds
from page_alloc_bench.campaign.bisection import BAD, GOOD, SKIP, Outcome
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.journal import CampaignError, Journal
from page_alloc_bench.campaign.timed import plan
from page_alloc_bench.campaign.timed.loop import BUDGET_OVER, Boots, Campaign, Ending
from page_alloc_bench.campaign.timed.verdict import exit_code
from page_alloc_bench.campaign.verdict_codes import NONE, REGRESSION, TROUBLE
from page_alloc_bench.runner.result.case import key

_WORDS = {NONE: GOOD, REGRESSION: BAD}


class OverError(Exception):
    """The time that a bisection may take is over."""


@dataclass(frozen=True)
class Told:
    """What a step says. why: in a line. code: as of a single comparison, which ENDING is of."""

    verdict: str
    why: str
    code: int
    ending: Ending


def number(commits: int) -> int:
    """Return how many steps it takes at most to find one of so many commits."""
    return max(1, math.ceil(math.log2(max(1, commits))))


def _no_end() -> float | None:
    return None


@dataclass(frozen=True)
class TimedStep:
    """A step as bisection.search() takes it, each in a directory of its own below DIRECTORY.

    side: makes what is booted of the name of a side, and a kernel. asked: what a plan has, as of a
    single comparison. steps: how many there may be. most: boots a side. left: returns how many
    seconds there are; None for any number.
    """

    directory: Path
    side: Callable[[str, Built], Boots]
    asked: Mapping[str, Any]
    steps: int
    most: int
    note: Callable[[str], object]
    left: Callable[[], float | None] = _no_end

    @property
    def confidence(self) -> float:
        """Return that of each step."""
        return 1 - (1 - float(self.asked["confidence"])) / self.steps

    def place(self, sha: str) -> Path:
        """Return the directory of the step of a commit."""
        return self.directory / sha

    def take(self, good: Built, new: Built) -> Told:
        """Hold NEW against GOOD, both booted by turns; go on with what is there.

        Raises OverError, CampaignError for trouble here or with GOOD, and what a comparison raises.
        """
        left = self.left()
        if left is not None and left <= 0:
            raise OverError(BUDGET_OVER)
        place = self.place(new.commit.sha)
        sides = {"base": self.side("base", good), "new": self.side("new", new)}
        asked = {
            **self.asked,
            "labels": {name: side.label for name, side in sides.items()},
            "confidence": self.confidence,
        }
        journal = Journal(place)
        plan.begin(journal, asked, most=self.most, seed=None)
        ending = Campaign(journal, sides, note=self.note, budget_s=left).run()
        if ending.why == "budget":
            raise OverError(ending.text)
        code = exit_code(read(place), ending)
        if code == TROUBLE:
            raise CampaignError(ending.text)
        verdict = _WORDS.get(code, SKIP)
        made = ending.judgement.comparison
        why = ending.text if verdict == SKIP or made is None else made.sentence
        return Told(verdict, why, code, ending)

    def __call__(self, good: Built, new: Built) -> Outcome:
        """Return what take() says; a kernel that must not be compared with GOOD is skipped."""
        try:
            told = self.take(good, new)
        except CompareError as error:
            return Outcome(SKIP, str(error))
        return Outcome(told.verdict, told.why)


def worst(made: Comparison) -> Row:
    """Return what became worse the most, measured by what matters, of a comparison with that."""
    found = [row for row in made.deciding if row.regression]
    return max(found, key=lambda row: row.harm)


def follow(asked: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Return what is ASKED of the steps: of this figure only, and with the middle as threshold.

    Halfway between GOOD and BAD a step needs the fewest boots, and small changes do not mislead it.
    """
    limits = thresholds.parse(asked["thresholds"]).percent
    middle = float(f"{abs(row.change_percent or 0.0) / 2:.3g}")
    matters = Thresholds({**limits, row.kind: max(limits[row.kind], middle)})
    figure = f"{key(row.metric, row.case)}:{row.statistic}"
    return {**asked, "metrics": [figure], "thresholds": str(matters)}

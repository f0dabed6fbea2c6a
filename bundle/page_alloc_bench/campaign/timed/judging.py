# SPDX-License-Identifier: GPL-2.0-only
"""What the boots so far say, and whether more are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from page_alloc_bench.analysis import compare, of_campaign, results
from page_alloc_bench.analysis.campaign_directory import Kept, read
from page_alloc_bench.analysis.comparison import Comparison, Row, describe
from page_alloc_bench.analysis.verdict import futility
from page_alloc_bench.analysis.verdict.states import CANNOT_TELL, NO_REGRESSION, REGRESSION, State

WORDS = {NO_REGRESSION: "no regression", REGRESSION: "regression", CANNOT_TELL: "cannot tell"}


@dataclass(frozen=True)
class Judgement:
    """What the boots show.

    comparison: None where there are too few for one. hopeless: more boots will hardly decide.
    """

    comparison: Comparison | None
    hopeless: bool = False

    @property
    def code(self) -> int:
        """Return the exit code of what is shown."""
        return CANNOT_TELL if self.comparison is None else self.comparison.exit_code

    @property
    def word(self) -> str:
        """Return what is shown."""
        return WORDS[self.code]

    def leads(self) -> str:
        """Return what changed most for the worse, as words; empty if nothing is known of it."""
        rows = [row for row in self._deciding() if row.change_percent is not None]
        if not rows:
            return ""
        worst = max(rows, key=lambda row: row.harm)
        return f"{describe(worst)} {worst.change_percent:+.1f} % leads"

    def _deciding(self) -> list[Row]:
        return [] if self.comparison is None else self.comparison.deciding


def judge(directory: Path) -> Judgement:
    """Return what the results in the directory of a campaign show by now.

    Raises results.ResultError and compare.CompareError, also where no boots would ever decide.
    """
    kept = read(directory)
    look = kept.look()
    if look is None:
        return Judgement(None)
    made = _compare(
        kept, [results.load_all(kept.files(side)) for side in ("base", "new")], look=look
    )
    if not made.deciding:
        raise compare.CompareError(made.sentence)
    rows = [figure for row in made.deciding if (figure := _figure(row)) is not None]
    alpha = 1 - made.confidence
    return Judgement(made, futility.hopeless(rows, look.most, alpha))


def halves(directory: Path) -> Comparison | None:
    """Return every second boot of base against the others: what differs there is noise.

    None where there are too few.
    """
    kept = read(directory)
    base = results.load_all(kept.files("base")) if len(kept.files("base")) >= 4 else []
    if not base:
        return None
    return _compare(kept, [base[::2], base[1::2]])


def _compare(kept: Kept, sides: Sequence[Sequence[Any]], **more: Any) -> Comparison:
    return compare.compare(
        sides[0], sides[1], accept_order=True, **of_campaign.planned(kept), **more
    )


def _figure(row: Row) -> futility.Figure | None:
    """Return a row as the rule of futility takes it; None for what has no spread to go by."""
    if row.kind == "failures" or row.below:
        return None
    with np.errstate(divide="ignore"):
        base, new = (np.log(np.array(side.tested)) for side in (row.base, row.new))
    known = row.verdict not in ("too few boots", "not tested")
    state = cast("State", row.verdict if known else "unknown")
    return futility.Figure(base, new, row.threshold_percent / 100, row.better, state)

# SPDX-License-Identifier: GPL-2.0-only
"""Boot the sides by the plan's schedule, keep what comes of each boot, and stop when it is known.

Where a boot is made follows from the journal alone, so a campaign that was killed goes on with the
boot that it was in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from page_alloc_bench.analysis.campaign_directory import AGAIN, OK, Kept, read
from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.campaign.timed.judging import Judgement, judge
from page_alloc_bench.campaign.timed.plan import BLOCK
from page_alloc_bench.campaign.timed.words import duration
from page_alloc_bench.targets.outcome import Outcome

BUDGET_OVER = "the time of --budget is over"
IN_A_ROW = 3  # boots that say nothing of a kernel
# Ends that are about how it was asked, not about the kernel.
ASKED_WRONGLY = ("refused", "wrong-kernel")


class Boots(Protocol):
    """A kernel that can be booted and measured."""

    @property
    def name(self) -> str:
        """Return the name of its directory."""

    @property
    def label(self) -> str:
        """Return what people call it."""

    def measure(self) -> Outcome:
        """Boot it once, and measure."""


@dataclass(frozen=True)
class Ending:
    """Why a campaign ended: regression, no regression, futile, all boots, budget, base fails, ...

    text: the same as words for people. judgement: on what was measured until then.
    """

    why: str
    text: str
    judgement: Judgement


class Campaign:
    """A plan under way. sides: by their names."""

    def __init__(
        self,
        journal: Journal,
        sides: Mapping[str, Boots],
        *,
        note: Callable[[str], object],
        budget_s: float | None = None,
        keep_going: bool = False,
        judge: Callable[[Path], Judgement] = judge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._sides = sides
        self._note = note
        self._budget_s = budget_s
        self._keep_going = keep_going
        self._judge = judge
        self._clock = clock
        kept = read(journal.directory)
        self._plan = kept.plan
        self._before = len(kept.attempts)
        self._began = clock()
        self._seconds: list[float] = [
            each["wall"] for each in journal.attempts() if each.get("wall")
        ]

    def run(self) -> Ending:
        """Boot until the rule says stop. Raises CampaignError, and what the judge raises."""
        schedule: list[str] = self._plan["schedule"]
        while True:
            kept = read(self._journal.directory)
            place = sum(each["end"] not in AGAIN for each in kept.attempts)
            ending = self._look(kept, last=place >= len(schedule)) or self._after_block(kept, place)
            if ending is None and self._is_over(place):
                ending = self._look(kept, last=True, why="budget")
            if ending is None and self._in_a_row(kept) >= IN_A_ROW:
                last = kept.attempts[-1]
                text = f"{IN_A_ROW} boots in a row said nothing of a kernel: {last['reason']}"
                ending = self._end(last["end"], text)
            if ending is not None:
                return ending
            self._boot(kept, self._sides[schedule[place]], place)

    def _boot(self, kept: Kept, side: Boots, place: int) -> None:
        number = kept.made(side.name) + 1
        blocks = -(-len(self._plan["schedule"]) // BLOCK)
        self._note(
            f"block {place // BLOCK + 1} of at most {blocks}: {side.name}, boot {number}"
            f" ({side.label}); {self._left(kept, place)}"
        )
        started = self._clock()
        outcome = side.measure()
        wall = self._clock() - started
        self._seconds.append(wall)
        self._journal.record(
            side.name,
            number,
            end=outcome.end,
            document=outcome.document,
            reason=outcome.reason,
            console=outcome.console,
            log=outcome.log,
            facts={**outcome.facts, "wall": round(wall, 2), "at": round(time.time(), 1)},
        )
        why = f": {line}" if (line := outcome.reason.partition("\n")[0]) else ""
        self._note(f"{side.name}, boot {number}: {outcome.end} after {duration(wall)}{why}")

    def _left(self, kept: Kept, place: int) -> str:
        """Return when the next look is, and how long it takes until then and to the end."""
        looks = [boots for boots in self._plan["looks"] if boots > kept.numbers()[0]]
        if not self._seconds:
            return f"the first look is after {looks[0]} boots a side"
        mean = sum(self._seconds) / len(self._seconds)
        until = duration(mean * max(1, 2 * looks[0] - place))
        left = duration(mean * (len(self._plan["schedule"]) - place))
        return f"look after {looks[0]} a side in {until}, at most {left} left"

    def _look(self, kept: Kept, *, last: bool, why: str = "") -> Ending | None:
        """Look at the results if the plan says so, or for the LAST time; return how it ended."""
        made, base, new = kept.numbers()
        nothing: dict[str, Any] = {"made": 0, "stop": ""}
        looked = kept.looks[-1] if kept.looks else nothing
        if looked["stop"]:
            return self._end(looked["stop"], looked["text"])
        due = any(looked["made"] < boots <= made for boots in self._plan["looks"])
        if not (due or last):
            return None
        judgement = self._judge(self._journal.directory)
        stop, text = _stop(judgement, made, self._plan["most"])
        final = not stop and last
        if final:
            stop, text = why or "all boots", _FINAL[why or "all boots"]
        if made > looked["made"]:
            line: dict[str, Any] = {"made": made, "base": base, "new": new}
            # A budget is for one call: the next one may go on.
            kept_stop = "" if stop == "budget" else stop
            self._journal.looked({**line, "shown": judgement.word, "stop": kept_stop, "text": text})
        leads = judgement.leads()
        self._note(
            f"look after {made} boots a side: {judgement.word}{f'; {leads}' if leads else ''}"
        )
        return Ending(stop, text, judgement) if stop else None

    def _after_block(self, kept: Kept, place: int) -> Ending | None:
        """Return the end if a block is over and a side does not boot, or does not survive."""
        if not place or place % BLOCK:
            return None
        failed = {side: failures(kept, side) for side in ("base", "new")}
        if not kept.files("base"):
            return self._end("base fails", f"no boot of base was whole: {_first(failed['base'])}")
        if failed["new"] and not failed["base"] and not self._keep_going:
            return self._end(
                "new fails",
                f"new failed in {len(failed['new'])} of {kept.made('new')} boots and base in none "
                f"of {kept.made('base')}: {_first(failed['new'])}",
            )
        if not kept.files("new"):
            return self._end("new fails", f"no boot of new was whole: {_first(failed['new'])}")
        if place == BLOCK:
            self._judge(self._journal.directory)  # sides that must not be compared are told now
        return None

    def _is_over(self, place: int) -> bool:
        """Return whether the budget does not allow another boot."""
        if self._budget_s is None or not place:
            return False
        used = self._clock() - self._began
        mean = sum(self._seconds) / len(self._seconds) if self._seconds else 0.0
        return used + mean > self._budget_s

    def _in_a_row(self, kept: Kept) -> int:
        """Return how many boots at the end of this call's journal said nothing of a kernel."""
        count = 0
        for each in reversed(kept.attempts[self._before :]):
            if each["end"] not in AGAIN:
                break
            count += 1
        return count

    def _end(self, why: str, text: str) -> Ending:
        return Ending(why, text, self._judge(self._journal.directory))


_FINAL = {
    "all boots": "all boots of the plan were made",
    "budget": BUDGET_OVER,
}


def _stop(judgement: Judgement, made: int, most: int) -> tuple[str, str]:
    """Return why to stop after a look, as a word and for people; empty to go on."""
    if judgement.code in (0, 1):
        return judgement.word, f"{judgement.word} was shown after {made} boots a side"
    if judgement.hopeless:
        return "futile", f"more boots, up to {most} a side, would hardly decide"
    return "", ""


def failures(kept: Kept, side: str) -> list[dict[str, Any]]:
    """Return the attempts of a side that failed and say something of its kernel."""
    return [a for a in kept.attempts if a["side"] == side and a["end"] not in (*AGAIN, OK)]


def _first(attempts: list[dict[str, Any]]) -> str:
    """Return how the first of some attempts failed, in a line."""
    if not attempts:
        return "nothing is known of why"
    line = str(attempts[0].get("reason", "")).partition("\n")[0]
    return f"{attempts[0]['end']}{f': {line}' if line else ''}"

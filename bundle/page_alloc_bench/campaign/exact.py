# SPDX-License-Identifier: GPL-2.0-only
"""Compare kernels by instructions: boot each twice, oftener where two boots differ.

There is no noise to average. Each boot of a kernel has random numbers of its own, and so another
layout of its memory: what the boots of one kernel differ by is the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from page_alloc_bench.analysis.campaign_directory import OK
from page_alloc_bench.analysis.instructions.path_length import Case, Side, differing
from page_alloc_bench.campaign.journal import CampaignError, Journal

LEAST_BOOTS, MOST_BOOTS = 2, 4
# Two boots of one kernel differ by less than this part, or there is a reason for it.
SAME = 5e-5
# So many instructions are chance in a case of few: a tick of the timer more, with what follows it.
_TICK = 8_000
_ATTEMPTS = 2  # at a boot that fails; under emulation one in many does so by chance


class BootFailedError(Exception):
    """A kernel did not boot, or did not survive the run; console: what it wrote."""

    def __init__(self, message: str, console: str = "") -> None:
        super().__init__(message)
        self.console = console


class Boots(Protocol):
    """A kernel that can be measured."""

    @property
    def name(self) -> str:
        """Return the name of its directory."""

    @property
    def label(self) -> str:
        """Return what people call it."""

    def measure(self, seed: int) -> tuple[dict[str, Any], str]:
        """Boot it once; return the result and the console. Raises BootFailedError.

        seed: of the guest's random numbers.
        """


@dataclass(frozen=True)
class Failure:
    """A side that did not boot or survive, and why."""

    side: str
    reason: str


def run(
    journal: Journal, sides: Sequence[Boots], *, at_once: int, note: Callable[[str], object]
) -> tuple[list[Side], list[Failure]]:
    """Measure all sides as often as is needed, AT_ONCE boots at a time.

    Attempts that the journal has are not made again. Returns the sides with their results, and
    those that failed. Raises CampaignError.
    """
    wanted = {side.name: LEAST_BOOTS for side in sides}
    failures: dict[str, Failure] = {}
    while True:
        jobs = _missing(journal, sides, wanted, failures)
        if not jobs:
            measured = [Side(s.name, s.label, journal.results(s.name)) for s in sides]
            more = [s for s in measured if s.name not in failures and _needs_more(s, wanted, note)]
            if not more:
                return measured, list(failures.values())
            for side in more:
                # As many as there are idle CPUs for: the round takes no longer.
                wanted[side.name] += max(1, at_once // len(more))
                wanted[side.name] = min(wanted[side.name], MOST_BOOTS)
            continue
        pool = ThreadPoolExecutor(max_workers=at_once)
        try:
            for _ in pool.map(lambda job: _attempt(journal, job[0], job[1], failures, note), jobs):
                pass
        finally:
            # Who interrupts does not wait for the guests, which end with this process.
            pool.shutdown(wait=False, cancel_futures=True)


def _missing(
    journal: Journal,
    sides: Sequence[Boots],
    wanted: dict[str, int],
    failures: dict[str, Failure],
) -> list[tuple[Boots, int]]:
    """Return the boots that are still to be made, the sides by turns."""
    have = {side.name: len(journal.results(side.name)) for side in sides}
    last: dict[str, int] = {}
    for attempt in journal.attempts():
        last[attempt["side"]] = max(last.get(attempt["side"], 0), attempt["number"])
    jobs = []
    for step in range(max(wanted.values(), default=0)):
        for side in sides:
            if side.name in failures or have[side.name] + step >= wanted[side.name]:
                continue
            jobs.append((side, last.get(side.name, 0) + 1 + step))
    return jobs


def _attempt(
    journal: Journal,
    side: Boots,
    number: int,
    failures: dict[str, Failure],
    note: Callable[[str], object],
) -> None:
    """Boot a side, unless it has failed, and keep what came of it, in FAILURES if it fails too."""
    reason = ""
    if side.name in failures:
        return
    for again in range(_ATTEMPTS):
        note(f"{side.name}: boot {number} of {side.label}{', again' if again else ''}")
        try:
            document, console = side.measure(number)
        except BootFailedError as error:
            reason = str(error)
            journal.record(side.name, number, end="failed", reason=reason, console=error.console)
            note(f"{side.name}: {reason.splitlines()[0]}")
        else:
            journal.record(side.name, number, end=OK, document=document, console=console)
            return
    failures[side.name] = Failure(side.name, reason)


def _needs_more(side: Side, wanted: dict[str, int], note: Callable[[str], object]) -> bool:
    """Return whether a side's boots differ by too much for their number; say why."""
    worst: Case | None = None
    for case in side.cases():
        if (
            side.spread(case) > SAME
            and side.apart(case) > _TICK
            and (worst is None or side.spread(case) > side.spread(worst))
        ):
            worst = case
    if worst is None or wanted[side.name] >= MOST_BOOTS:
        return False
    why = ", ".join(differing(side, worst))
    note(
        f"{side.name}: its boots differ by {side.spread(worst):.1e} in {worst}"
        f"{f', most of it in {why}' if why else ''}: it boots again"
    )
    return True


__all__ = ["BootFailedError", "Boots", "CampaignError", "Failure", "run"]

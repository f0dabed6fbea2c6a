# SPDX-License-Identifier: GPL-2.0-only
"""Read the directory of a campaign: which results count, and what its stop rule has looked at.

plan.json says what was to be done, attempts.jsonl what came of each boot, looks.jsonl when it was
looked at. Only results that an attempt names count: others were cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page_alloc_bench import jsonl

if TYPE_CHECKING:
    from .verdict.sequential import Look

PLAN, ATTEMPTS, LOOKS = "plan.json", "attempts.jsonl", "looks.jsonl"
OK = "ok"
# What says nothing of a kernel, and is made again.
AGAIN = ("infra", "aside")
TIMED = "timed"


@dataclass(frozen=True)
class Kept:
    """What a campaign has so far. attempts, looks: lines of the journal, in their order."""

    directory: Path
    plan: dict[str, Any]
    attempts: list[dict[str, Any]]
    looks: list[dict[str, Any]]

    @property
    def timed(self) -> bool:
        """Return whether it compares by time, with a stop rule."""
        return self.plan.get("mode") == TIMED

    def sides(self) -> list[str]:
        """Return the names of its sides that have results, base first."""
        found = dict.fromkeys(a["side"] for a in self.attempts if a["end"] == OK)
        return sorted(found, key=lambda name: (name != "base", name))

    def files(self, side: str) -> list[Path]:
        """Return the results of a side, in the order of their numbers."""
        names = {a["file"] for a in self.attempts if a["side"] == side and a["end"] == OK}
        return [path for path in (self.directory / name for name in sorted(names)) if path.exists()]

    def made(self, side: str) -> int:
        """Return how many boots of a side were made whose end says something of its kernel."""
        return sum(a["side"] == side and a["end"] not in AGAIN for a in self.attempts)

    def numbers(self) -> tuple[int, int, int]:
        """Return the boots made a side, and how many of base and new are whole and healthy."""
        healthy = [len(self.files(side)) for side in ("base", "new")]
        return min(self.made("base"), self.made("new")), healthy[0], healthy[1]

    def look(self) -> Look | None:
        """Return the look at what is there now, after those that were made; None without boots."""
        from .verdict import sequential  # noqa: PLC0415 (the rest needs no numpy)

        now = self.numbers()
        if min(now[1:]) < 2:
            return None
        before = [(each["made"], each["base"], each["new"]) for each in self.looks]
        before = [each for each in before if min(each[1:]) >= 2 and each[0] < now[0]]
        return sequential.look(int(self.plan["most"]), [*before, now])


def is_campaign(path: Path) -> bool:
    """Return whether a directory is that of a campaign."""
    return (path / PLAN).is_file()


def read(directory: Path) -> Kept:
    """Return what is in the directory of a campaign. Raises OSError or ValueError."""
    plan = json.loads((directory / PLAN).read_text())
    if not isinstance(plan, dict):
        raise ValueError(f"{directory / PLAN} is not a plan")
    return Kept(directory, plan, jsonl.read(directory / ATTEMPTS), jsonl.read(directory / LOOKS))

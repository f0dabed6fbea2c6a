# SPDX-License-Identifier: GPL-2.0-only
"""What a campaign is to do and has done, in a directory; the same command goes on from there.

DIR/plan.json        written before the first boot and never changed
DIR/attempts.jsonl   a line for each attempt, written when it is over
DIR/looks.jsonl      a line for each time that a stop rule looked at the results
DIR/SIDE/NNNN.json   the results, whole and healthy ones only
DIR/aside/           the others; their attempt says why
DIR/log/             the console of each boot, and the kernel's log
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page_alloc_bench import jsonl
from page_alloc_bench.analysis.campaign_directory import ATTEMPTS, LOOKS, OK, PLAN

_TOLD = {"side", "number", "end"}  # by each attempt
_LOG, _ASIDE, _LOCK = "log", "aside", ".lock"


class CampaignError(Exception):
    """A campaign cannot go on; the message says why and what to do."""


class Journal:
    """The directory of one campaign; several threads may write to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()

    def begin(self, plan: dict[str, Any]) -> bool:
        """Write the plan, or go on with it; return whether there was one.

        Raises CampaignError where the directory has another plan, or cannot be written.
        """
        path = self.directory / PLAN
        text = json.dumps(plan, indent=1, sort_keys=True) + "\n"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._require_alone()
            if path.exists():
                self._require_same(json.loads(path.read_text()), plan)
                return True
            _write_whole(path, text.encode())
        except (OSError, ValueError) as error:
            raise CampaignError(
                f"the directory {self.directory} cannot be used: {error}; give another with --dir"
            ) from error
        return False

    def _require_alone(self) -> None:
        """Raise CampaignError while another process works in the directory."""
        self._alone = (self.directory / _LOCK).open("w")
        try:
            fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CampaignError(
                f"another process works in {self.directory}: wait for its end, or give another "
                "directory with --dir"
            ) from error

    def _require_same(self, old: Any, plan: dict[str, Any]) -> None:
        if not isinstance(old, dict):
            raise ValueError(f"{PLAN} is not a plan")
        changed = sorted(key for key in {*old, *plan} if old.get(key) != plan.get(key))
        if changed:
            raise CampaignError(
                f"{self.directory} is of another campaign, with other {', '.join(changed)}: give "
                "the same options as then to go on with it, or another directory with --dir"
            )

    def plan(self) -> dict[str, Any] | None:
        """Return the plan of the directory; None if there is none. Raises CampaignError."""
        path = self.directory / PLAN
        try:
            plan = json.loads(path.read_text()) if path.exists() else None
        except (OSError, ValueError) as error:
            raise CampaignError(f"{path} cannot be read: {error}") from error
        return plan if isinstance(plan, dict) else None

    def attempts(self) -> list[dict[str, Any]]:
        """Return the attempts so far; a last line that was cut off is left out.

        Raises CampaignError where a line is not an attempt.
        """
        path = self.directory / ATTEMPTS
        found = jsonl.read(path)
        if not all(each.keys() >= _TOLD for each in found):
            raise CampaignError(
                f"{path} has a line that is not an attempt: take it out, or give another directory "
                "with --dir"
            )
        return found

    def results(self, side: str) -> list[dict[str, Any]]:
        """Return the results of a side, in the order of their numbers."""
        names = {
            each["file"] for each in self.attempts() if each["side"] == side and each["end"] == OK
        }
        paths = [self.directory / name for name in sorted(names)]
        return [json.loads(path.read_text()) for path in paths if path.exists()]

    def record(
        self,
        side: str,
        number: int,
        *,
        end: str,
        document: dict[str, Any] | None = None,
        reason: str = "",
        console: str = "",
        log: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what came of an attempt. end: OK, or a word for how it failed.

        log: the kernel's. facts: what else its line in the journal is to tell.
        """
        attempt: dict[str, Any] = {"side": side, "number": number, "end": end, **(facts or {})}
        before = sum((a["side"], a["number"]) == (side, number) for a in self.attempts())
        name = f"{side}-{number:04}{f'-{before}' if before else ''}"
        try:
            if document is not None:
                kept = f"{side}/{number:04}.json" if end == OK else f"{_ASIDE}/{name}.json"
                attempt["file"] = kept
                _write_whole(self.directory / attempt["file"], json.dumps(document).encode())
            for kind, text in (("console", console), ("dmesg", log)):
                if text:
                    attempt[kind] = f"{_LOG}/{name}.{kind}"
                    _write_whole(self.directory / attempt[kind], text.encode(errors="replace"))
            if reason:
                attempt["reason"] = reason
            self._append(ATTEMPTS, attempt)
        except OSError as error:
            raise CampaignError(f"{self.directory} cannot be written: {error}") from error

    def looked(self, look: Mapping[str, Any]) -> None:
        """Keep what a stop rule has looked at. Raises CampaignError."""
        try:
            self._append(LOOKS, look)
        except OSError as error:
            raise CampaignError(f"{self.directory} cannot be written: {error}") from error

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        """Add a line to a journal, so that it outlives this machine."""
        with self._lock:
            jsonl.append(self.directory / name, line)


def _write_whole(path: Path, data: bytes) -> None:
    """Make PATH appear with all of DATA or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)

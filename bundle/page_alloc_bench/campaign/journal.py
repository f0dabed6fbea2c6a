# SPDX-License-Identifier: GPL-2.0-only
"""What a campaign is to do and has done, in a directory; the same command goes on from there.

DIR/plan.json        written before the first boot and never changed
DIR/attempts.jsonl   a line for each attempt, written when it is over
DIR/SIDE/NNNN.json   the results, whole and healthy ones only
DIR/log/             the console of each boot
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

_PLAN, _ATTEMPTS, _LOG, _LOCK = "plan.json", "attempts.jsonl", "log", ".lock"
OK = "ok"


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
        path = self.directory / _PLAN
        text = json.dumps(plan, indent=1, sort_keys=True) + "\n"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._require_alone()
                self._require_same(json.loads(path.read_text()), plan)
                return True
            self._require_alone()
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

    def _require_same(self, old: dict[str, Any], plan: dict[str, Any]) -> None:
        changed = sorted(key for key in {*old, *plan} if old.get(key) != plan.get(key))
        if changed:
            raise CampaignError(
                f"{self.directory} is of another campaign, with other {', '.join(changed)}: give "
                "the same options as then to go on with it, or another directory with --dir"
            )

    def attempts(self) -> list[dict[str, Any]]:
        """Return the attempts so far; a last line that was cut off is left out."""
        path = self.directory / _ATTEMPTS
        lines = path.read_text().splitlines() if path.exists() else []
        return [attempt for attempt in map(_parsed, lines) if attempt is not None]

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
    ) -> None:
        """Keep what came of an attempt. end: OK, or a word for how it failed."""
        attempt: dict[str, Any] = {"side": side, "number": number, "end": end}
        try:
            if document is not None:
                attempt["file"] = f"{side}/{number:04}.json"
                _write_whole(self.directory / attempt["file"], json.dumps(document).encode())
            if console:
                log = f"{_LOG}/{side}-{number:04}.console"
                _write_whole(self.directory / log, console.encode(errors="replace"))
                attempt["console"] = log
            if reason:
                attempt["reason"] = reason
            with self._lock, (self.directory / _ATTEMPTS).open("a") as file:
                # A line of its own, also after one that was cut off.
                file.write(f"{'' if self._ends_whole() else chr(10)}{json.dumps(attempt)}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CampaignError(f"{self.directory} cannot be written: {error}") from error

    def _ends_whole(self) -> bool:
        path = self.directory / _ATTEMPTS
        return not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")


def _parsed(line: str) -> dict[str, Any] | None:
    """Return the attempt of a line; None for one that was cut off."""
    try:
        attempt = json.loads(line)
    except ValueError:
        return None
    return attempt if isinstance(attempt, dict) else None


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

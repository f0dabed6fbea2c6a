# SPDX-License-Identifier: GPL-2.0-only
"""What is known of each host, in a directory; the same command goes on from there.

DIR/fleet.jsonl          the plan in its first line, then a line for each step of a host
DIR/results/HOST.json.gz what a run has left, also if it is not whole
DIR/log/HOST.log         what the run said
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from page_alloc_bench import jsonl

from .outcome import FleetError

NAME = "fleet.jsonl"
# How far a host is, in the order of time.
DRAINING = "draining"  # the hook that takes it out of service has begun
DRAINED = "drained"  # it may begin
DETACHED = "detached"  # its run is going on; boot_id: which boot of the host it is in
DECIDED = "decided"  # outcome and reason are known; what was brought there must be removed
REMOVED = "removed"  # it may be put back into service
OVER = "over"


class Journal:
    """The journal of a fleet. hosts: the last line of each host; plan: the first line."""

    def __init__(self, directory: Path) -> None:
        """Read what is there. Raises FleetError."""
        self.directory = directory
        self._read()

    def _read(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.plan: dict[str, Any] = {}
        try:
            entries = jsonl.read(self.directory / NAME)
        except OSError as error:
            raise FleetError(f"{self.directory / NAME} cannot be read: {error}") from error
        for entry in entries:
            if isinstance(entry.get("plan"), dict):
                self.plan = entry["plan"]
            elif isinstance(host := entry.get("host"), str):
                self.hosts[host] = entry

    def begin(self, plan: dict[str, Any]) -> bool:
        """Write the plan, or go on with it; return whether there was one.

        Raises FleetError where the journal has another plan, cannot be written, or is in use.
        """
        self._take("wait for its end, or give another directory with --dir")
        if not self.plan:
            self.plan = {**plan, "id": os.urandom(8).hex()}
            self._append({"plan": self.plan})
            return False
        changed = sorted(key for key in plan if plan[key] != self.plan.get(key))
        if changed:
            raise FleetError(
                f"{self.directory} is of another fleet run, with other {', '.join(changed)}: give "
                "the same as then to go on with it, or another directory with --dir"
            )
        return True

    def go_on(self) -> None:
        """Take the journal of a fleet that is there. Raises FleetError as begin() does."""
        self._take("end it first, with Ctrl-C: the runs on the hosts go on")

    def _take(self, advice: str) -> None:
        """Lock the journal, and read what is in it. advice: what to do where it is in use."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._alone = (self.directory / ".lock").open("w")
            fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FleetError(f"another process works in {self.directory}: {advice}") from error
        except OSError as error:
            raise FleetError(f"{self.directory} cannot be written: {error}") from error
        self._read()  # who had the lock until now may have written

    def record(self, host: str, step: str, **facts: Any) -> None:
        """Keep that a host has come so far. Raises FleetError."""
        entry = {"host": host, "step": step, "at": round(time.time(), 3), **facts}
        self._append(entry)
        self.hosts[host] = entry

    def step(self, host: str) -> str | None:
        """Return how far a host is; None before it has a run."""
        step: str | None = self.hosts.get(host, {}).get("step")
        return step

    def at(self, step: str | None, hosts: Iterable[str]) -> list[str]:
        """Return those of hosts that are so far."""
        return [host for host in hosts if self.step(host) == step]

    def keep(self, kind: str, host: str, suffix: str, data: bytes) -> Path:
        """Write a file of a host, whole or not at all; return its path. Raises FleetError."""
        path = self.directory / kind / f"{quote(host, safe='')}{suffix}"
        aside = path.with_name(f".{path.name}")
        try:
            path.parent.mkdir(exist_ok=True)
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except OSError as error:
            raise FleetError(f"{path} cannot be written: {error}") from error
        return path

    def _append(self, entry: dict[str, Any]) -> None:
        path = self.directory / NAME
        try:
            jsonl.append(path, entry)
        except OSError as error:
            raise FleetError(f"{path} cannot be written: {error}") from error

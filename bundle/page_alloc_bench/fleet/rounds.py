# SPDX-License-Identifier: GPL-2.0-only
"""Take each host from its first look to its outcome.

There are three playbooks: begin, poll, remove. What one tells is in the journal before the next is
played: a result is here before it is removed there, and a controller that was killed goes on from
any point.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import shlex
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from page_alloc_bench.analysis.results import ResultError

from . import outcome
from .engine import DONE, UNREACHABLE, Ended, Engine
from .journal import DECIDED, DETACHED, OVER, Journal
from .outcome import Keep, Note

# How long each task may take, in seconds.
LIMITS = {
    "look": 60, "copy": 900, "preflight": 120, "detach": 300, "status": 60, "stop": 300,
    "fetch": 900, "remove": 120,
}  # fmt: skip
_REFUSED = 3  # exit code of a bundle: the host is not fit
_SHARE = 0.2  # by which the time between two looks differs, by chance


@dataclass(frozen=True)
class Settings:
    """How to run a fleet. poll_s, lost_s, longest_s: seconds, see the options of the command."""

    bundles: Mapping[str, Path]
    options: Sequence[str]
    remote_dir: str
    poll_s: float
    lost_s: float
    longest_s: float


@dataclass
class Rounds:
    """A fleet on its way. keep: takes a whole result. note: a line for who watches."""

    engine: Engine
    journal: Journal
    settings: Settings
    keep: Keep
    note: Note
    phases: dict[str, str] = field(default_factory=dict)  # as it was told last, by host
    lost: dict[str, float] = field(default_factory=dict)  # since when a host does not answer

    def run(self, hosts: Sequence[str]) -> None:
        """Return when every host has its outcome. Raises FleetError."""
        self._play("begin", self.journal.at(None, hosts), self._begun)
        while True:
            self._play("remove", self.journal.at(DECIDED, hosts), self._removed)
            running = self.journal.at(DETACHED, hosts)
            if not running:
                return
            share = random.uniform(1 - _SHARE, 1 + _SHARE)  # noqa: S311 - no secret
            time.sleep(self.settings.poll_s * share)
            self._play("poll", running, self._polled)
            self._give_up_lost(running)

    def _play(self, name: str, hosts: Sequence[str], told: Callable[[Ended], object]) -> None:
        if not hosts:
            return
        now = time.time()
        began = {host: self.journal.hosts.get(host, {}).get("at", now) for host in hosts}
        remote_dir = self.settings.remote_dir.rstrip("/")
        facts = {
            "remote_dir": remote_dir,
            "place": f"{remote_dir}/page-alloc-bench-fleet.{self.journal.plan['id']}",
            "bundles": {kernel: str(path) for kernel, path in self.settings.bundles.items()},
            "options": shlex.join(self.settings.options),
            "limits": LIMITS,
            "overdue": [h for h in hosts if now - began[h] > self.settings.longest_s],
        }
        self.engine.play(name, hosts, facts, told)

    # begin

    def _begun(self, ended: Ended) -> None:
        if ended.end != DONE:
            # Nothing is there after the first look; what else failed may have left something.
            self._decide(ended.host, *_of_failure(ended), there=ended.task != "look")
        elif ended.task == "look":
            self._looked(ended)
        elif ended.task == "detach":
            # The boot is known from the look.
            self._detached(ended.host, self.phases.pop(ended.host))

    def _looked(self, ended: Ended) -> None:
        release, machine, boot_id, *detached = ended.stdout.split()
        kernel = f"{release} {machine}"
        if detached:
            self._detached(ended.host, detached[0])
        elif kernel not in self.settings.bundles:
            reason = f"no bundle has a module for {kernel}"
            self._decide(ended.host, outcome.NO_MODULE, reason, there=False)
        else:
            self.phases[ended.host] = boot_id

    def _detached(self, host: str, boot_id: str) -> None:
        self.journal.record(host, DETACHED, boot_id=boot_id)
        self.note(f"{host}: the run has begun")

    # poll

    def _polled(self, ended: Ended) -> None:
        if ended.end == UNREACHABLE or ended.timed_out:
            # It may be without memory now: that is what is measured.
            self.lost.setdefault(ended.host, time.monotonic())
        elif ended.end != DONE:
            self._decide(ended.host, *_of_failure(ended))
        elif ended.task == "status":
            self.lost.pop(ended.host, None)
            self._status(ended)
        elif ended.task == "stop":
            self.phases[ended.host] = outcome.TIMEOUT
        elif ended.task == "fetch" and self.journal.step(ended.host) == DETACHED:
            self._fetched(ended)

    def _status(self, ended: Ended) -> None:
        boot_id, _, text = ended.stdout.partition("\n")
        if boot_id.strip() != self.journal.hosts[ended.host]["boot_id"]:
            self._decide(ended.host, outcome.FAILED, "the host was booted anew during the run")
            return
        phase = _object(text).get("phase")
        if phase and self.phases.get(ended.host) != phase:
            self.phases[ended.host] = phase
            self.note(f"{ended.host}: {phase}")

    def _fetched(self, ended: Ended) -> None:
        """Keep what a run has left. What counts is whether the result is whole."""
        host = ended.host
        try:
            code, said, data, whole = _left(ended.stdout)
            self.journal.keep("log", host, ".log", said)
            if data:
                path = self.journal.keep("results", host, ".json.gz", data)
            if whole:
                self.keep(path)
        except (ResultError, ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._decide(host, outcome.FAILED, f"what the run has left cannot be used: {error}")
            return
        if whole:
            self._decide(host, outcome.OK, "")
        elif self.phases.get(host) == outcome.TIMEOUT:
            self._decide(host, outcome.TIMEOUT, "the run took too long, and was stopped")
        else:
            lines = said.decode(errors="replace").strip().splitlines()
            told = [line for line in lines if "error:" in line] or lines[-1:]
            reason = ": ".join([f"the run ended with {code}", *told[-1:]])
            self._decide(host, outcome.FAILED, reason)

    def _give_up_lost(self, hosts: Sequence[str]) -> None:
        for host in self.journal.at(DETACHED, hosts):
            since = self.lost.get(host)
            if since is not None and time.monotonic() - since >= self.settings.lost_s:
                reason = f"no answer for {self.settings.lost_s:g} s while it ran"
                self._decide(host, outcome.UNREACHABLE, reason)

    # remove

    def _decide(self, host: str, what: str, reason: str, *, there: bool = True) -> None:
        """Keep what came of a host. there: whether something may have to be removed there."""
        facts = {"outcome": what, "reason": reason}
        if there:
            lost = what in (outcome.TIMEOUT, outcome.UNREACHABLE)
            may_have_run = lost or self.journal.step(host) == DETACHED
            self.journal.record(host, DECIDED, may_have_run=may_have_run, **facts)
        else:
            self._over(host, **facts)

    def _removed(self, ended: Ended) -> None:
        entry = self.journal.hosts[ended.host]
        what, reason = entry["outcome"], entry["reason"]
        if ended.end != DONE:
            clean = "it could not be seen whether the host is clean"
            if ended.end == UNREACHABLE and what == outcome.UNREACHABLE:
                self._over(ended.host, outcome=what, reason=f"{reason}; {clean}")
                return
            why = f"{clean} ({ended.reason})"
        elif entry["may_have_run"] and _object(ended.stdout).get("host_is_clean") is not True:
            why = "the module or a process of the run is still there"
        else:
            self._over(ended.host, outcome=what, reason=reason)
            return
        before = "" if what == outcome.OK else f"{what}, {reason}; "
        self._over(ended.host, outcome=outcome.UNCLEAN, reason=before + why)

    def _over(self, host: str, **facts: Any) -> None:
        self.journal.record(host, OVER, **facts)
        self.note(": ".join(filter(None, (host, facts["outcome"], facts["reason"]))))


def _of_failure(ended: Ended) -> tuple[str, str]:
    """Return the outcome of a step that did not end well, and why."""
    if ended.end == UNREACHABLE:
        return outcome.UNREACHABLE, " ".join(str(ended.result.get("msg", "")).split())
    if ended.timed_out:
        return outcome.TIMEOUT, ended.reason
    if ended.code == _REFUSED and ended.task in ("preflight", "detach"):
        return outcome.REFUSED, _findings(ended.stdout) or ended.reason
    return outcome.FAILED, ended.reason


def _left(stdout: str) -> tuple[str, bytes, bytes, bool]:
    """Return a run's exit code, what it said, its packed result, and whether that is whole."""
    head, _, packed = stdout.replace("\r", "").partition("--\n")
    code, _, log = head.partition("\n")
    said, data = gzip.decompress(base64.b64decode(log)), base64.b64decode(packed)
    document = json.loads(gzip.decompress(data)) if data else {}
    run = document.get("run") if isinstance(document, dict) else None
    return code, said, data, isinstance(run, dict) and run.get("complete") is True


def _findings(stdout: str) -> str:
    """Return the names of the findings that refuse, from what --preflight printed."""
    found = _object(stdout).get("findings", [])
    return ", ".join(each["name"] for each in found if each["severity"] == "refuse")


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in what a command printed, empty if there is none."""
    try:
        value = json.loads(text[text.index("{") :])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

# SPDX-License-Identifier: GPL-2.0-only
"""Take each host from its first look to its outcome.

There are three playbooks: begin, poll, remove. What one tells is in the journal before the next is
played: a result is here before it is removed there, and a controller that was killed goes on from
any point. Before the first and after the last come the hooks of the user.
"""

from __future__ import annotations

import gzip
import math
import random
import shlex
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from page_alloc_bench.analysis.results import ResultError

from . import answers, bundles, hooks, outcome
from .engine import DONE, UNREACHABLE, Ended, Engine
from .journal import DECIDED, DETACHED, DRAINED, DRAINING, OVER, REMOVED, Journal
from .outcome import Keep, Note

# How long each task may take, in seconds. To look and to remove wait for a shell that a killed
# controller has left in detach; to remove stops a run, too.
LIMITS = {
    "look": 360, "copy": 900, "preflight": 120, "detach": 300, "status": 60, "stop": 300,
    "fetch": 900, "remove": 700,
}  # fmt: skip
# What a module that is compiled there adds to those.
_BUILD_S = {"look": 1800, "detach": 1800, "remove": 1800}
_REFUSED = 3  # exit code of a bundle: the host is not fit
_SHARE = 0.2  # by which the time between two looks differs, by chance
# What is not put back into service: something may be left there.
_STAYS_DRAINED = (outcome.UNCLEAN, outcome.UNREACHABLE)


@dataclass(frozen=True)
class Settings:
    """How to run a fleet. poll_s, lost_s, longest_s, pause_s: seconds, see the command's options.

    builders: by machine, the bundle that a host builds a module from that none has one for.
    batch: how many hosts at once, None for all. drain, undrain: commands, "" for none. forks: how
    many of them at once.
    """

    bundles: Mapping[str, Path]
    options: Sequence[str]
    remote_dir: str
    poll_s: float = 0
    lost_s: float = math.inf
    longest_s: float = math.inf
    batch: int | None = None
    pause_s: float = 0
    drain: str = ""
    undrain: str = ""
    forks: int = 1
    builders: Mapping[str, Path] = field(default_factory=dict)


@dataclass
class Rounds:
    """A fleet on its way. keep: takes a whole result. note: a line for who watches."""

    engine: Engine
    journal: Journal
    settings: Settings
    keep: Keep
    note: Note
    # By host: the boot that a run begins in, and the phase that was told last.
    booted: dict[str, str] = field(default_factory=dict)
    phases: dict[str, str] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    stopping: bool = False  # all that run are to be stopped, not only what takes too long
    begun: set[str] = field(default_factory=set)  # perhaps, by a controller that was killed
    # By host and task: since when it does not come to its end, and why not.
    failing: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def run(self, hosts: Sequence[str]) -> None:
        """Return when every host has its outcome. Raises FleetError."""
        new = self.journal.at(None, hosts)
        begun = [h for h in hosts if self.journal.step(h) not in (None, OVER)]
        size = max(1, self.settings.batch or len(hosts))
        first = max(0, size - len(begun))
        batches = [begun + new[:first]]
        batches += [new[place : place + size] for place in range(first, len(new), size)]
        for number, batch in enumerate(filter(None, batches)):
            if number:
                time.sleep(self.settings.pause_s)
            self._run(batch)

    def collect(self, hosts: Sequence[str], *, stop: bool = False) -> None:
        """Bring what runs have left that are over, and wait for none; stop: end the others first.

        A host that has no run yet is left as it is. Raises FleetError.
        """
        self.stopping = stop
        self._play("poll", self.journal.at(DETACHED, hosts), self._polled)
        self._put_away(hosts)

    def _put_away(self, hosts: Sequence[str]) -> None:
        """Leave hosts as they were whose outcome is known."""
        self._play("remove", self.journal.at(DECIDED, hosts), self._removed)
        self._undrain(self.journal.at(REMOVED, hosts))

    def _run(self, hosts: Sequence[str]) -> None:
        """Return when each of these hosts has its outcome."""
        self.begun.update(self.journal.at(DRAINED, hosts))
        self._drain(hosts)
        self._play("begin", self.journal.at(DRAINED, hosts), self._begun)
        while True:
            self._put_away(hosts)
            running = self.journal.at(DETACHED, hosts)
            if not running:
                return
            share = random.uniform(1 - _SHARE, 1 + _SHARE)  # noqa: S311 - no secret
            time.sleep(self.settings.poll_s * share)
            self._play("poll", running, self._polled)
            self._give_up(running)

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
            "builders": {name: str(path) for name, path in self.settings.builders.items()},
            "options": shlex.join(self.settings.options),
            "limits": self._limits(),
            "mark": answers.MARK,
            "look": answers.LOOK,
            "overdue": [
                h for h in hosts if self.stopping or now - began[h] > self.settings.longest_s
            ],
        }
        self.engine.play(name, hosts, facts, told)

    def _limits(self) -> dict[str, int]:
        more = _BUILD_S if self.settings.builders else {}
        return {task: limit + more.get(task, 0) for task, limit in LIMITS.items()}

    # hooks

    def _drain(self, hosts: Sequence[str]) -> None:
        """Take hosts out of service; one that this fails for is not measured."""
        for host in self.journal.at(None, hosts):
            # What a killed controller has begun to drain is drained again.
            self.journal.record(host, DRAINING if self.settings.drain else DRAINED)
        drained = self.journal.at(DRAINING, hosts)
        for host, fault in hooks.run(self.settings.drain, drained, self.settings.forks):
            if fault:
                self._decide(host, outcome.FAILED, f"drain: {fault}", there=False, ran=False)
            else:
                self.journal.record(host, DRAINED)

    def _undrain(self, hosts: Sequence[str]) -> None:
        """Put hosts back into service that are as they were."""
        back = []
        for host in hosts:
            entry = self.journal.hosts[host]
            if not self.settings.undrain:
                self._over(host, entry["outcome"], entry["reason"])
            elif entry["outcome"] in _STAYS_DRAINED and entry["there"]:
                self._over(host, entry["outcome"], f"{entry['reason']}; it stays drained")
            else:
                back.append(host)
        for host, fault in hooks.run(self.settings.undrain, back, self.settings.forks):
            entry = self.journal.hosts[host]
            what, reason = entry["outcome"], entry["reason"]
            if fault:
                before = "" if what == outcome.OK else f"{what}, {reason}; "
                what, reason = outcome.DRAINED, f"{before}undrain: {fault}"
            self._over(host, what, reason)

    # begin

    def _begun(self, ended: Ended) -> None:
        # Before the first look nothing is there, unless a killed controller has left something.
        before = ended.host in self.begun
        there = before or ended.task != "look" or ended.timed_out
        if ended.end != DONE:
            what, reason = _of_failure(ended)
            lost = what in (outcome.TIMEOUT, outcome.UNREACHABLE)
            ran = before or (lost and ended.task in ("preflight", "detach"))
            self._decide(ended.host, what, reason, there=there, ran=ran)
        elif ended.task == "look":
            self._looked(ended, before=before)
        elif ended.task == "detach":
            self._detached(ended.host, self.booted[ended.host])

    def _looked(self, ended: Ended, *, before: bool) -> None:
        seen = answers.look(ended.stdout)
        if seen is not None:
            self.begun.discard(ended.host)  # what was left is known now, or gone
        if seen is None:
            reason = f"look: its answer cannot be read: {ended.stdout.strip()[-200:]!r}"
            self._decide(ended.host, outcome.FAILED, reason, there=before, ran=before)
        elif seen.detached:
            self._detached(ended.host, seen.detached)
        elif seen.kernel in self.settings.bundles:
            self.booted[ended.host] = seen.boot_id
        elif seen.machine in self.settings.builders:
            self.booted[ended.host] = seen.boot_id
            self.note(f"{ended.host}: no bundle has a module for {seen.kernel}: it is built there")
        else:
            reason = f"no bundle has a module for {seen.kernel}"
            self._decide(ended.host, outcome.NO_MODULE, reason, there=False, ran=False)

    def _detached(self, host: str, boot_id: str) -> None:
        self.journal.record(host, DETACHED, boot_id=boot_id)
        self.note(f"{host}: the run has begun")

    # poll

    def _polled(self, ended: Ended) -> None:
        if self.journal.step(ended.host) != DETACHED:
            return  # by what this round has told before
        answer = answers.status(ended.stdout) if ended.task == "status" else None
        unknown = ended.task == "status" and (ended.end != DONE or answer is None)
        if ended.end == UNREACHABLE or ended.timed_out or unknown:
            # It may be without memory now: that is what is measured. Each task has its own clock: a
            # host whose result never comes may well say how it is.
            since = self.failing.get((ended.host, ended.task), (time.monotonic(), ""))[0]
            self.failing[ended.host, ended.task] = since, ended.reason
            return
        self.failing.pop((ended.host, ended.task), None)
        if ended.end != DONE:
            self._decide(ended.host, *_of_failure(ended))
        elif answer is not None:
            if ended.code != 0:  # there is nothing to stop any more
                self.failing.pop((ended.host, "stop"), None)
            self._status(ended.host, *answer)
        elif ended.task == "stop":
            self.stopped.add(ended.host)
        elif ended.task == "fetch":
            self._fetched(ended)

    def _status(self, host: str, boot_id: str, state: Mapping[str, Any]) -> None:
        if boot_id != self.journal.hosts[host]["boot_id"]:
            self._decide(host, outcome.FAILED, "the host was booted anew during the run")
            return
        phase = state.get("phase")
        if phase and self.phases.get(host) != phase:
            self.phases[host] = phase
            self.note(f"{host}: {phase}")

    def _fetched(self, ended: Ended) -> None:
        """Keep what a run has left. What counts is whether the result is whole."""
        host = ended.host
        try:
            left = answers.left(ended.stdout)
            self.journal.keep("log", host, ".log", left.said)
            if left.data:
                path = self.journal.keep("results", host, ".json.gz", left.data)
            if left.whole:
                self.keep(path)
        except (ResultError, ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._decide(host, outcome.FAILED, f"what the run has left cannot be used: {error}")
            return
        if left.whole:
            self._decide(host, outcome.OK, "")
        elif host in self.stopped and self.stopping:
            self._decide(host, outcome.STOPPED, "its run was ended before it was whole")
        elif host in self.stopped:
            self._decide(host, outcome.TIMEOUT, "the run took too long, and was stopped")
        else:
            lines = left.said.decode(errors="replace").strip().splitlines()
            told = [line for line in lines if "error:" in line] or lines[-1:]
            reason = ": ".join([f"the run ended with {left.code}", *told[-1:]])
            self._decide(host, outcome.FAILED, reason)

    def _give_up(self, hosts: Sequence[str]) -> None:
        """Decide of the hosts one of whose tasks does not come to its end for too long."""
        now, longest = time.monotonic(), self.settings.lost_s
        for (host, task), (since, reason) in list(self.failing.items()):
            if now - since < longest or host not in self.journal.at(DETACHED, hosts):
                continue
            if task == "status":
                why = f"no answer for {longest:g} s while it ran"
                self._decide(host, outcome.UNREACHABLE, f"{why} ({reason})")
            else:
                why = f"{task} did not come to its end for {longest:g} s"
                self._decide(host, outcome.TIMEOUT, f"{why} ({reason})")

    # remove

    def _decide(
        self, host: str, what: str, reason: str, *, there: bool = True, ran: bool = True
    ) -> None:
        """Keep what came of a host.

        there: whether something may have to be removed there. ran: whether a run may have begun.
        """
        facts = {"outcome": what, "reason": reason, "there": there}
        self.journal.record(host, DECIDED if there else REMOVED, may_have_run=ran, **facts)

    def _removed(self, ended: Ended) -> None:
        entry = self.journal.hosts[ended.host]
        what, reason = entry["outcome"], entry["reason"]
        clean = True
        if ended.end != DONE:
            clean, why = False, "it could not be seen whether the host is clean"
            if ended.end == UNREACHABLE and what == outcome.UNREACHABLE:
                self._record_removed(ended.host, what, f"{reason}; {why}")
                return
            why = f"{why} ({ended.reason})"
        elif entry["may_have_run"]:
            said = answers.after_mark(ended.stdout).get("host_is_clean")
            clean, why = said is True, "the module or a process of the run is still there"
            if said is None:
                why = "nothing is there that could say whether the host is clean"
        if not clean:
            before = "" if what == outcome.OK else f"{what}, {reason}; "
            what, reason = outcome.UNCLEAN, before + why
        self._record_removed(ended.host, what, reason)

    def _record_removed(self, host: str, what: str, reason: str) -> None:
        self.journal.record(host, REMOVED, outcome=what, reason=reason, there=True)

    def _over(self, host: str, what: str, reason: str) -> None:
        self.journal.record(host, OVER, outcome=what, reason=reason)
        self.note(": ".join(filter(None, (host, what, reason))))


def _of_failure(ended: Ended) -> tuple[str, str]:
    """Return the outcome of a step that did not end well, and why."""
    if ended.end == UNREACHABLE:
        said = " ".join(str(ended.result.get("msg", "")).split())
        return outcome.UNREACHABLE, said.removeprefix("Task failed: ")
    if ended.timed_out:
        return outcome.TIMEOUT, ended.reason
    begin = ended.reason.find(bundles.CANNOT_BUILD)
    if ended.code == _REFUSED and ended.task == "detach" and begin >= 0:
        return outcome.NO_MODULE, ended.reason[begin:]
    if ended.code == _REFUSED and ended.task in ("preflight", "detach"):
        return outcome.REFUSED, answers.findings(ended.stdout) or ended.reason
    return outcome.FAILED, ended.reason

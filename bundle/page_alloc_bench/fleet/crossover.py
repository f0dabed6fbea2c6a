# SPDX-License-Identifier: GPL-2.0-only
"""Compare two kernels on many hosts: each boots both, and is compared with itself.

What is done on a host is done by `ab --host`, in a process and a directory of its own, so that what
goes wrong on one host stops no other, and each goes on where it was. Every host makes the same
number of boots, whatever they show: to stop where the figures look good would bend the verdict.

DIR/fleet.jsonl  the plan, and what came of each host
DIR/hosts/HOST   the directory of `ab --host`
DIR/log/HOST.log what it said
"""

from __future__ import annotations

import fcntl
import random
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from page_alloc_bench import jsonl
from page_alloc_bench.analysis.campaign_directory import AGAIN, ATTEMPTS, OK
from page_alloc_bench.campaign import verdict_codes
from page_alloc_bench.campaign.timed.plan import schedule
from page_alloc_bench.targets.process import command_words

from . import outcome
from .journal import OVER, Journal
from .outcome import FleetError, Note

BEGUN = "begun"  # its `ab --host` was started
_WHOLE = (verdict_codes.NONE, verdict_codes.REGRESSION, verdict_codes.UNKNOWN)
_POLL_S = 0.5
_END_S = 60.0  # for `ab --host` to put down what it does, when it is told to end
_LOCK = ".lock"  # which campaign.journal has while it works in a directory


def seeds(hosts: Sequence[str], seed: int, boots: int) -> dict[str, int]:
    """Return the seed of each host's order of boots.

    Half of the hosts, drawn by chance, make their boots of base earlier by the median, and half
    later: what drifts on a host then moves as many hosts one way as the other. boots: a side.
    """
    chance = random.Random(seed)  # noqa: S311 (an order, no secret)
    drawn = sorted(hosts)
    chance.shuffle(drawn)
    first = chance.randrange(2)
    return {host: _seed(chance, boots, 1 - 2 * ((at + first) % 2)) for at, host in enumerate(drawn)}


def _seed(chance: random.Random, boots: int, sign: int) -> int:
    """Return the seed of an order in which new is later (1) or earlier (-1) than base."""
    while True:
        seed = chance.randrange(1 << 32)
        order = schedule(boots, seed)
        base, new = (
            statistics.median(at for at, each in enumerate(order) if each == side)
            for side in ("base", "new")
        )
        if (new - base) * sign > 0:
            return seed


@dataclass(frozen=True)
class Crossover:
    """Hosts that compare two kernels. commands: what is run here for each host.

    at_once: how many hosts; the others wait. note: a line for who watches. latest: the last line
    of each host.
    """

    journal: Journal
    commands: Mapping[str, Sequence[str]]
    at_once: int
    note: Note
    latest: dict[str, str] = field(default_factory=dict)

    def run(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Return when each host has its outcome. Raises FleetError.

        A host whose outcome says nothing of its kernels is tried again, where it was.
        """
        waiting = [host for host in self.commands if not is_known(self.journal, host)]
        for host in filter(self._is_in_use, waiting):
            self.note(f"{host}: another process still works for it: it is waited for")
        going: dict[str, _Going] = {}
        try:
            while waiting or going:
                free = self.at_once - len(going)
                for host in [host for host in waiting if not self._is_in_use(host)][:free]:
                    waiting.remove(host)
                    self.journal.record(host, BEGUN)
                    going[host] = _Going(host, self.journal.directory, self.commands[host])
                for host, each in list(going.items()):
                    code = each.ended(self._heard)
                    if code is not None:
                        del going[host]
                        self._over(host, code, each)
                sleep(_POLL_S)
        finally:
            for each in going.values():
                each.process.terminate()
            for each in going.values():
                each.end()

    def _heard(self, host: str, line: str) -> None:
        self.latest[host] = line
        self.note(f"{host}: {line}")

    def _is_in_use(self, host: str) -> bool:
        """Return whether one that a killed controller has started still works for a host."""
        try:
            with (directory(self.journal.directory, host) / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # nothing was begun there
        return False

    def _over(self, host: str, code: int, going: _Going) -> None:
        what, reason = _outcome(code, going, directory(self.journal.directory, host))
        self.journal.record(host, OVER, outcome=what, reason=reason)
        self.note(": ".join(filter(None, (host, what, reason))))


class _Going:
    """An `ab --host` that goes on. It needs nothing of this process, should that be killed."""

    def __init__(self, host: str, place: Path, command: Sequence[str]) -> None:
        self.host = host
        self.path = place / "log" / f"{quote(host, safe='')}.log"
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("ab") as log:
                self._told = log.tell()
                self._began = self._told
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
                )
        except OSError as error:
            raise FleetError(f"{host}: ab --host cannot be started: {error}") from error

    def ended(self, told: Callable[[str, str], object]) -> int | None:
        """Pass on what it has said since; return its exit code, None while it goes on."""
        code = self.process.poll()
        for line in self._lines_since(self._told).splitlines():
            told(self.host, line.removeprefix("page-alloc-bench: "))
        return code

    def end(self) -> None:
        """Wait for its end."""
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def complaint(self) -> str:
        """Return what it complained of last, in a line."""
        lines = self._lines_since(self._began).strip().splitlines()
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (told or lines or ["it said nothing"])[-1]

    def _lines_since(self, place: int) -> str:
        """Return the whole lines after a place in its log."""
        with self.path.open("rb") as log:
            log.seek(place)
            text = log.read()
        text = text[: text.rfind(b"\n") + 1]
        if place == self._told:
            self._told += len(text)
        return text.decode(errors="replace")


def directory(place: Path, host: str) -> Path:
    """Return the directory of a host's comparison."""
    return place / "hosts" / quote(host, safe="")


def with_host(command: str, host: str, option: str) -> str:
    """Return a command of the user's with a host's name as its last word. Raises UsageError."""
    return shlex.join([*command_words(command, option=option), host])


def is_known(journal: Journal, host: str) -> bool:
    """Return whether a host's outcome is one of its kernels, and stays."""
    known = (outcome.OK, outcome.NEW_FAILS)
    return journal.step(host) == OVER and journal.hosts[host]["outcome"] in known


def _outcome(code: int, going: _Going, place: Path) -> tuple[str, str]:
    """Return what came of a host, and why."""
    if code in _WHOLE:
        return outcome.OK, ""
    if code == verdict_codes.NEW_FAILS:
        return outcome.NEW_FAILS, _failure(place)
    said = going.complaint
    if code == verdict_codes.REFUSED:
        return outcome.REFUSED, said
    return outcome.FAILED, said if code > 0 else f"ab --host was ended by signal {-code}"


def _failure(place: Path) -> str:
    """Return how the new kernel failed first, in a line."""
    for each in jsonl.read(place / ATTEMPTS):
        if each["side"] == "new" and each["end"] not in (*AGAIN, OK):
            line = str(each.get("reason", "")).partition("\n")[0]
            return ": ".join(filter(None, (each["end"], line)))
    return "nothing is known of why"

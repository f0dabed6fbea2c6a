# SPDX-License-Identifier: GPL-2.0-only
"""Hosts of a fleet that are made up: the journal is real, and Ansible is left out."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from page_alloc_bench.fleet.engine import DONE, Ended
from page_alloc_bench.fleet.journal import OVER, Journal
from page_alloc_bench.fleet.rounds import Rounds, Settings

BOOT = "01234567-89ab-cdef-0123-456789abcdef"
MARK = "page-alloc-bench:"
GREETING = "Welcome to host {1}!\nsudo: unable to resolve host\n"
TIMED_OUT = {"timedout": {"period": 60}, "msg": "Timed out after 60 second(s)."}
LOST = {"msg": "Failed to connect to the host via ssh"}


def packed(data: bytes) -> str:
    return base64.encodebytes(gzip.compress(data)).decode()


def ok(host: str, task: str, stdout: str = "", rc: int = 0) -> Ended:
    return Ended(host, task, DONE, {"rc": rc, "stdout": stdout})


def looked(host: str, detached: str = "", noise: str = "") -> Ended:
    line = f"{MARK} look 6.1 x86_64 {BOOT}{f' {detached}' if detached else ''}"
    return ok(host, "look", f"{noise}\n{line}\n{noise}")


def status(host: str, rc: int = 10, noise: str = "") -> Ended:
    state = {"state": "running", "phase": "measuring", "host_is_clean": False}
    text = json.dumps(state, indent=1)
    return ok(host, "status", f"{noise}\n{MARK} boot {BOOT}\r\n{text}\n{noise}", rc)


def fetched(host: str, *, complete: bool = True, noise: str = "") -> Ended:
    result = packed(json.dumps({"run": {"complete": complete}}).encode())
    log = packed(b"error: made up")
    text = f"\n{MARK} over 0\n{log}{MARK} result\n{result}{MARK} end\n"
    return ok(host, "fetch", f"{noise}{text}{noise}")


def removed(host: str, *, clean: bool = True, noise: str = "") -> Ended:
    text = json.dumps({"state": "none", "host_is_clean": clean})
    return ok(host, "remove", f"{noise}\n{MARK} status\n{text}\n{noise}")


class Hosts:
    """Stands for Ansible. begin, poll, remove: what the tasks of a host end with."""

    def __init__(self) -> None:
        self.plays: list[tuple[str, list[str]]] = []
        self.facts: dict[str, Mapping[str, Any]] = {}
        self.begin: Callable[[str], list[Ended]] = lambda h: [looked(h), ok(h, "detach")]
        self.poll: Callable[[str], list[Ended]] = lambda h: [status(h), fetched(h)]
        self.remove: Callable[[str], list[Ended]] = lambda h: [removed(h)]

    def play(
        self,
        name: str,
        hosts: Sequence[str],
        facts: Mapping[str, Any],
        told: Callable[[Ended], object],
    ) -> None:
        self.plays.append((name, list(hosts)))
        assert len(self.plays) < 1000, "it does not end"
        self.facts[name] = facts
        for host in hosts:
            for ended in getattr(self, name)(host):
                told(ended)


class Fleet:
    """The rounds over hosts that are made up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kept: list[Path] = []
        self.hosts = self.again()

    def again(self) -> Hosts:
        """Begin as a controller does that goes on; the one before has no lock any more."""
        vars(self).pop("journal", None)
        self.journal = Journal(self.directory)
        self.journal.begin({"bundles": {}})
        self.hosts = Hosts()
        return self.hosts

    def run(self, *hosts: str, **settings: Any) -> dict[str, tuple[str, str]]:
        given = {"poll_s": 0.001, "lost_s": 0.05, "longest_s": 60.0, **settings}
        bundles = given.pop("bundles", {"6.1 x86_64": Path("x.run")})
        made = Settings(bundles, (), "/var/tmp", **given)
        rounds = Rounds(self.hosts, self.journal, made, self.kept.append, str)  # type: ignore[arg-type]
        rounds.run(hosts or ("a",))
        entries = self.journal.hosts
        assert {entry["step"] for entry in entries.values()} == {OVER}
        return {host: (each["outcome"], each["reason"]) for host, each in entries.items()}

    def collect(self, *, stop: bool) -> dict[str, tuple[str, str]]:
        """Return outcome and reason of the hosts that have them."""
        made = Settings({}, (), "/var/tmp")
        rounds = Rounds(self.hosts, self.journal, made, self.kept.append, str)  # type: ignore[arg-type]
        rounds.collect(sorted(self.journal.hosts), stop=stop)
        over = self.journal.at(OVER, self.journal.hosts)
        return {h: (e["outcome"], e["reason"]) for h, e in self.journal.hosts.items() if h in over}

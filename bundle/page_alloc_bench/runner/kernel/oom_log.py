# SPDX-License-Identifier: GPL-2.0-only
"""Whom the OOM killer took, by the kernel's own account: its log.

The lines are those of mm/oom_kill.c, alike from 5.10 to 7.x. A report is

    pab-findlimit invoked oom-killer: gfp_mask=…               dump_header(), rate-limited
    … Mem-Info, the task list …
    oom-kill:constraint=CONSTRAINT_NONE,…,task=NAME,pid=N,uid=0 dump_oom_victim(), with it
    Out of memory: Killed process N (NAME) total-vm:…kB, …      __oom_kill_process(), always

so only the last line can be relied upon to be there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from page_alloc_bench.runner.result.constraint import WHOLE_MACHINE

from .log import KernelLog
from .procfs import page_size

_KILL = re.compile(
    r"(?P<message>(?:Memory cgroup out|Out) of memory[^:]*): "
    r"Killed process (?P<pid>\d+) \((?P<name>.*)\)(?P<sizes> total-vm:.*)"
)
_SIZE = re.compile(r"([a-z-]+):(\d+)kB")
_CONSTRAINT = re.compile(
    r"oom-kill:constraint=(?P<constraint>\w+)(?:.*,task=(?P<name>.*),pid=\d+,uid=)?"
)
_HEADER = " invoked oom-killer: "
_TASK_ROW = re.compile(r"\[ *(\d+)\] ")
# dump_tasks(): the numbers of a row stand in the order of their names, after the pid.
_TASK_HEADER = re.compile(r"\[ *pid *\] ")
# show_free_areas(), in pages; the lines of its zones state kB.
_FREE_TOTALS = re.compile(r"\bfree:(\d+) free_pcp:(\d+) ")
_SWAP = re.compile(r"(Free|Total) swap\s*= *(\d+)kB")


def constraint_warnings(constraint: str) -> list[str]:
    """Return what to say of a kill for want of memory in a part of the machine only."""
    if constraint in ("", WHOLE_MACHINE):
        return []
    return [
        f"the kernel was out of memory for this process only ({constraint}): the figure is what a "
        "cgroup, a cpuset or a memory policy leaves, not what the machine has"
    ]


@dataclass(frozen=True)
class Kill:
    """One OOM kill. pid: of the process or, with vm.oom_kill_allocating_task, of its thread.

    sizes: what the line states (total-vm, anon-rss, file-rss, shmem-rss, pgtables), in bytes.
    constraint: CONSTRAINT_NONE, _CPUSET, _MEMORY_POLICY or _MEMCG; "" where the log does not say.
    report: the lines of the report before it, without the task list, oldest first.
    swapped_bytes: what of the process was in swap; None where the report has no task list.
    """

    pid: int
    name: str
    message: str
    sizes: dict[str, int]
    constraint: str
    report: tuple[str, ...] = ()
    swapped_bytes: int | None = None

    @property
    def rss_bytes(self) -> int | None:
        """Return the resident set of the process when it was killed: anonymous, file and shmem."""
        parts = [self.sizes.get(f"{kind}-rss") for kind in ("anon", "file", "shmem")]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None

    @property
    def swap_used_bytes(self) -> int | None:
        """Return how much of the machine's swap was used at the time, where the report says so."""
        swap = {what: int(size) * 1024 for what, size in _SWAP.findall("\n".join(self.report))}
        return swap["Total"] - swap["Free"] if len(swap) == 2 else None

    @property
    def free_bytes(self) -> int | None:
        """Return what the machine had free in its zones, where the report says so."""
        return self._free_total(1)

    @property
    def free_pcp_bytes(self) -> int | None:
        """Return what the machine had free on the lists of its CPUs, where the report says so."""
        return self._free_total(2)

    def _free_total(self, group: int) -> int | None:
        found = _FREE_TOTALS.search("\n".join(self.report))
        return int(found[group]) * page_size() if found else None


@dataclass
class Parser:
    """Turns the kernel's messages, one at a time, into OOM kills."""

    kills: list[Kill] = field(default_factory=list)
    _report: list[str] = field(default_factory=list)
    _constraint: str = ""
    _victim: str | None = None
    _columns: list[str] = field(default_factory=list)
    _swapped: dict[int, int] = field(default_factory=dict)  # pages by process, where not 0

    def feed(self, text: str) -> None:
        """Take one message of the kernel."""
        kill = _KILL.match(text)
        if kill:
            self._take(kill)
            return
        if _HEADER in text:
            self._forget()
            self._report.append(text)
        elif self._report and not self._take_task(text):
            self._report.append(text)
        constraint = _CONSTRAINT.match(text)
        if constraint:
            self._constraint = constraint["constraint"]
            self._victim = constraint["name"]

    def _take_task(self, text: str) -> bool:
        """Take a line of the task list; return whether it is one."""
        if _TASK_HEADER.match(text):
            self._columns = text.partition("]")[2].split()
            return True
        row = _TASK_ROW.match(text)
        if row is None:
            return False
        cells = dict(zip(self._columns, text.partition("]")[2].split()))
        swapped = cells.get("swapents", "")
        if swapped.isdigit() and int(swapped):
            for number in (row[1], cells["tgid"]):
                self._swapped[int(number)] = int(swapped)
        return True

    def _take(self, line: re.Match[str]) -> None:
        # By name: where the allocating task is chosen, one line names its thread, one the process.
        # Without: the summary is printed in parts, and another CPU may print between them.
        constraint = self._constraint if self._victim in (None, line["name"]) else ""
        if not constraint and line["message"].startswith("Memory cgroup"):
            constraint = "CONSTRAINT_MEMCG"
        sizes = {what: int(size) * 1024 for what, size in _SIZE.findall(line["sizes"])}
        report = tuple(self._report)
        pid, swapped = int(line["pid"]), None
        if "swapents" in self._columns:
            swapped = self._swapped.get(pid, 0) * page_size()
        kill = Kill(pid, line["name"], line["message"], sizes, constraint, report, swapped)
        self.kills.append(kill)
        self._forget()

    def _forget(self) -> None:
        self._report.clear()
        self._constraint = ""
        self._victim = None
        self._columns = []
        self._swapped.clear()


class OomLog(KernelLog):
    """The OOM kills in the kernel's log from now on."""

    def __init__(self, descriptor: int | None = None) -> None:
        super().__init__(descriptor)
        self._parser = Parser()

    def __enter__(self) -> OomLog:
        return self

    def kills(self) -> list[Kill]:
        """Return all OOM kills since the log was opened, oldest first."""
        for message in self.messages():
            self._parser.feed(message)
        return self._parser.kills

    def await_kill(self, pids: Collection[int], timeout_s: float) -> Kill | None:
        """Return the OOM kill of one of PIDS, waiting for it up to TIMEOUT_S; None: there is none.

        The victim may be dead before the line is there: __oom_kill_process() sends the signal
        first and prints then.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for kill in self.kills():
                if kill.pid in pids:
                    return kill
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.wait(left)

# SPDX-License-Identifier: GPL-2.0-only
"""Walls around this process: with one of them, findlimit measures the wall."""

from __future__ import annotations

import re
from collections.abc import Iterator

from page_alloc_bench.runner import cgroup, procfs

from .check import REFUSE, WARN, Check, Finding
from .host import Host

_ADVICE = "run outside of any container, in the host's own namespaces"
_MOVE = "move out of it: echo $$ > /sys/fs/cgroup/cgroup.procs, or log in anew"


class MemoryCgroup(Check):
    """A limit of our memory cgroup, or of one around it."""

    name = "memory-cgroup"
    severity = REFUSE
    meaning = "findlimit would measure that limit, not the machine"
    advice = _MOVE

    def look(self, host: Host) -> Iterator[Finding]:
        """Report limits below what the machine has."""
        own = cgroup.own(host.root)
        total = host.memory().get("MemTotal", 0)
        if own is None:
            return
        limit, throttle = own.limit_bytes(), own.throttle_bytes()
        if limit is not None and limit < total:
            yield self.finding(f"a cgroup limits this process to {limit >> 20} MiB of memory")
        if throttle is not None and throttle < total:
            yield self.finding(
                f"a cgroup slows this process down from {throttle >> 20} MiB on (memory.high)",
                meaning="the child would crawl there, and no OOM kill come",
            )


class Cpuset(Check):
    """Nodes with memory that this process may not use."""

    name = "cpuset"
    severity = REFUSE
    meaning = "findlimit would measure the memory of some nodes, not the machine's"
    advice = _MOVE

    def found(self, host: Host) -> str | None:
        """Compare what is allowed with the nodes that have memory."""
        allowed = re.search(
            r"^Mems_allowed_list:\s*(\S*)$", host.read("proc/self/status") or "", re.MULTILINE
        )
        nodes = set(host.cpu_list("sys/devices/system/node/has_memory"))
        if not allowed or not nodes:
            return None
        missing = nodes - set(procfs.parse_list(allowed[1]))
        have = f"this process may not use the memory of node {procfs.format_list(missing)}"
        return have if missing else None


class Affinity(Check):
    """CPUs that this process may not use, though nobody asked for fewer."""

    name = "cpu-affinity"
    severity = WARN
    meaning = "the other CPUs get neither a worker nor a thread of findlimit"
    advice = "start it on all CPUs (taskset -a, a wider cpuset), or say what is meant: --cpus"

    def found(self, host: Host) -> str | None:
        """Compare the affinity with the CPUs online; isolated ones have a check of their own."""
        online = set(host.cpu_list("sys/devices/system/cpu/online"))
        isolated = set(host.cpu_list("sys/devices/system/cpu/isolated"))
        missing = online - isolated - host.affinity
        if host.options.cpus or not missing:
            return None
        return f"this process may not run on CPU {procfs.format_list(missing)}"


class Container(Check):
    """Signs of a container."""

    name = "container"
    severity = REFUSE
    meaning = "a module loaded and memory exhausted from in here hit the whole host around it"
    advice = _ADVICE

    def found(self, host: Host) -> str | None:
        """Look for what container engines leave as signs."""
        signs = [name for name in ("run/.containerenv", ".dockerenv") if host.exists(name)]
        engine = host.read("run/systemd/container") or _engine(host)
        if engine:
            return f"this is a container ({engine})"
        return f"this is a container (/{signs[0]} is there)" if signs else None


class _Namespace(Check):
    """A namespace that is not the host's.

    kind: its name in /proc/self/ns. first: what that says of the first one, whose numbers are in
    include/linux/proc_ns.h.
    """

    severity = REFUSE
    advice = _ADVICE
    kind: str
    first: str

    def found(self, host: Host) -> str | None:
        """Compare with the first one."""
        name = host.link(f"proc/self/ns/{self.kind}")
        return f"this {self.kind} namespace is {name}" if name not in (None, self.first) else None


class PidNamespace(_Namespace):
    """A PID namespace that is not the host's."""

    name = "pid-namespace"
    kind = "pid"
    first = "pid:[4026531836]"
    meaning = "the kernel's log names processes by other numbers: no OOM kill can be confirmed"


class UserNamespace(_Namespace):
    """A user namespace that is not the host's."""

    name = "user-namespace"
    kind = "user"
    first = "user:[4026531837]"
    meaning = "root in here is not root outside: the kernel takes no module from it"


def _engine(host: Host) -> str | None:
    """Return the container that the environment of process 1 names."""
    environment = (host.read("proc/1/environ") or "").split("\0")
    named = [text.partition("=")[2] for text in environment if text.startswith("container=")]
    return named[0] if named else None


CHECKS = (
    MemoryCgroup(),
    Cpuset(),
    Affinity(),
    Container(),
    PidNamespace(),
    UserNamespace(),
)

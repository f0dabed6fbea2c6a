# SPDX-License-Identifier: GPL-2.0-only
"""Limits around this process: with one of them, findlimit measures the limit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from page_alloc_bench.runner.kernel import cgroup, mounts, procfs
from page_alloc_bench.runner.result import units

from .check import REFUSE, WARN, Check, Finding
from .host import Host

_ADVICE = "run outside of any container, in the host's own namespaces"
_MOVE = "start the run outside of that cgroup"
_ANEW = "log in anew, not by an ssh connection that is shared"


def leaving(
    host: Host, own: cgroup.MemoryCgroup, culprit: Path, start: str = ""
) -> tuple[str, ...]:
    """Return the command that starts this run in the topmost cgroup, out of culprit's reach.

    own: our cgroup. culprit: the file of the setting that is in the way; if that is the topmost
    cgroup's, as it may be in a container, there is no such command. start: what stands before the
    command of the run.
    """
    if culprit.parent == own.top:
        return ()
    line = f"echo $$ > {host.name(own.top)}/cgroup.procs && exec {start}{host.again}"
    return (f"sh -c {shlex.quote(line)}",)


class MemoryCgroup(Check):
    """A limit of our memory cgroup, or of one around it."""

    name = "memory-cgroup"
    severity = REFUSE
    meaning = "the benchmark would measure that limit, not the machine"
    advice = _MOVE

    def look(self, host: Host) -> Iterator[Finding]:
        """Report limits below what the machine has."""
        own = cgroup.own(host.root)
        total = host.memory().get("MemTotal", 0)
        if own is None:
            return
        limit, throttle = own.limit(), own.throttle()
        if limit is not None and limit.size < total:
            yield self.finding(
                f"{host.name(limit.path)} limits this process to "
                f"{units.whole_mib(limit.size)} of memory",
                commands=leaving(host, own, limit.path),
            )
        if throttle is not None and throttle.size < total:
            yield self.finding(
                f"{host.name(throttle.path)} slows this process down from "
                f"{units.whole_mib(throttle.size)} on",
                meaning="the kernel slows the child down there, and never calls the OOM killer",
                commands=leaving(host, own, throttle.path),
            )


class Cpuset(Check):
    """Nodes with memory that this process may not use."""

    name = "cpuset"
    severity = REFUSE
    meaning = "the benchmark would measure the memory of some nodes, not of the machine"
    advice = _MOVE

    def look(self, host: Host) -> Iterator[Finding]:
        """Compare what is allowed with the nodes that have memory."""
        allowed = re.search(
            r"^Mems_allowed_list:\s*(\S*)$", host.read("proc/self/status") or "", re.MULTILINE
        )
        nodes = set(host.cpu_list("sys/devices/system/node/has_memory"))
        missing = nodes - set(procfs.parse_list(allowed[1])) if allowed else set()
        if not missing:
            return
        found = f"this process may not use the memory of node {procfs.format_list(missing)}"
        own = cgroup.own(host.root, "cpuset")
        left = own.allowed("mems") if own else None
        if left and missing <= set(procfs.parse_list(left)):
            # On 6.12 processes keep the nodes of a limit when their cgroup has it no more.
            yield self.finding(f"{found}, though its cgroup may", advice=_ANEW)
            return
        yield self.finding(
            found, commands=leaving(host, own, own.directory / "cpuset.mems") if own else ()
        )


class Affinity(Check):
    """CPUs that this process may not use, though nobody asked for fewer."""

    name = "cpu-affinity"
    severity = WARN
    meaning = "the other CPUs get neither a worker nor a thread of findlimit"
    advice = "name the CPUs with --cpus, or start the run on all of them"

    def look(self, host: Host) -> Iterator[Finding]:
        """Compare the affinity with the CPUs online; isolated ones have a check of their own."""
        online = set(host.cpu_list("sys/devices/system/cpu/online"))
        isolated = set(host.cpu_list("sys/devices/system/cpu/isolated"))
        missing = online - isolated - host.affinity
        if host.options.cpus or not missing:
            return
        start = f"taskset -c {procfs.format_list(missing | host.affinity)} "
        own = cgroup.own(host.root, "cpuset")
        cpuset = own.allowed("cpus") if own else None
        commands: tuple[str, ...] = (f"{start}{host.again}",)
        if own and cpuset and missing - set(procfs.parse_list(cpuset)):
            commands = leaving(host, own, own.directory / "cpuset.cpus", start)
        yield self.finding(
            f"this process may not run on CPU {procfs.format_list(missing)}", commands=commands
        )


class Container(Check):
    """Signs of a container."""

    name = "container"
    severity = REFUSE
    meaning = "the module and the lack of memory affect the whole host, not only the container"
    advice = _ADVICE

    def found(self, host: Host) -> str | None:
        """Look for what container engines leave as signs."""
        signs = [name for name in ("run/.containerenv", ".dockerenv") if host.exists(name)]
        engine = host.read("run/systemd/container") or _engine(host)
        if engine:
            return f"this is a container ({engine})"
        return f"this is a container (/{signs[0]} exists)" if signs else None


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
    acceptable = False
    first = "pid:[4026531836]"
    meaning = "the kernel's log names processes by other numbers: no OOM kill can be confirmed"


class UserNamespace(_Namespace):
    """A user namespace that is not the host's."""

    name = "user-namespace"
    kind = "user"
    acceptable = False
    first = "user:[4026531837]"
    meaning = (
        "root in this namespace is not root of the host, and the kernel loads no module for it"
    )


def _engine(host: Host) -> str | None:
    """Return the container that the environment of process 1 names."""
    environment = (host.read("proc/1/environ") or "").split("\0")
    named = [text.partition("=")[2] for text in environment if text.startswith("container=")]
    return named[0] if named else None


class KernelFiles(Check):
    """/proc and /sys, mounted whole."""

    name = "kernel-files"
    severity = REFUSE
    acceptable = False
    meaning = mounts.MEANING
    advice = mounts.ADVICE

    def look(self, host: Host) -> Iterator[Finding]:
        """Report each that lacks what a run reads."""
        for problem in mounts.problems(host.root):
            yield self.finding(problem.found, commands=(host.as_root(problem.command),))


CHECKS = (
    KernelFiles(),
    MemoryCgroup(),
    Cpuset(),
    Affinity(),
    Container(),
    PidNamespace(),
    UserNamespace(),
)

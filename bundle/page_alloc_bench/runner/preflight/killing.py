# SPDX-License-Identifier: GPL-2.0-only
"""Who is killed when memory is short, and by whom: it must be our child, by the kernel."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator

from page_alloc_bench.runner.kernel import cgroup, log
from page_alloc_bench.runner.result import units

from . import systemd
from .check import REFUSE, WARN, Check, Finding, SysctlCheck
from .confinement import leaving
from .host import Host

# They end processes when memory gets short, before the kernel does.
_DAEMONS = ("earlyoom", "nohang", "nohang-desktop", "oomd", "systemd-oomd")


class PanicOnOom(SysctlCheck):
    """vm.panic_on_oom."""

    name = "panic-on-oom"
    severity = REFUSE
    meaning = "each iteration ends with an OOM kill, and the first one would panic the host"
    sysctl = "vm.panic_on_oom"


class KillAllocatingTask(SysctlCheck):
    """vm.oom_kill_allocating_task."""

    name = "oom-kill-allocating-task"
    severity = REFUSE
    meaning = "the OOM killer takes the process that asks for memory, not the benchmark's child"
    sysctl = "vm.oom_kill_allocating_task"


class Overcommit(Check):
    """vm.overcommit_memory=2, which bounds what can be mapped."""

    name = "overcommit"
    severity = REFUSE
    meaning = (
        "the child reaches CommitLimit before memory is used up, and the OOM killer is not called"
    )
    advice = "allow overcommit, which is the default"
    commands = ("sysctl vm.overcommit_memory=0",)

    def found(self, host: Host) -> str | None:
        """Report 2, if the commit limit is in the way."""
        if host.sysctl("vm.overcommit_memory") != 2:
            return None
        memory = host.memory()
        left = memory.get("CommitLimit", 0) - memory.get("Committed_AS", 0)
        if left > memory.get("MemTotal", 0) + memory.get("SwapTotal", 0):
            return None
        return f"vm.overcommit_memory is 2, and {units.whole_mib(max(0, left))} are left to commit"


class OomDaemon(Check):
    """Daemons that kill in user space."""

    name = "oom-daemon"
    severity = REFUSE
    meaning = "it kills the child, or the whole ssh session, before the kernel's OOM killer does"
    advice = "stop it while the benchmark runs"

    def look(self, host: Host) -> Iterator[Finding]:
        """Look at the name of every process."""
        for pid in host.names("proc"):
            name = _program(host, pid) if pid.isdigit() else None
            if name in _DAEMONS:
                commands, undo = systemd.stop(host, pid)
                commands = commands or (f"kill {pid}",)
                found = f"{name} is running (PID {pid})"
                yield self.finding(found, commands=commands, undo=undo)


class OomPolicy(Check):
    """systemd's OOMPolicy of the unit that this process is in."""

    name = "oom-policy"
    severity = REFUSE
    meaning = "when one process is OOM-killed, systemd ends the whole unit, and this run with it"
    advice = "start the run in a scope of its own"

    def look(self, host: Host) -> Iterator[Finding]:
        """Ask systemd; a unit of a user's own manager cannot be asked about from here."""
        units = systemd.units(host) if systemd.runs(host) else []
        if not units:
            return
        commands = (systemd.in_a_scope(host),)
        if systemd.of_a_user(units):
            yield self.finding(
                f"this process is in {units[-1]}, a unit of a user's own systemd",
                severity=WARN,
                meaning="whether its OOMPolicy ends this run at the first OOM kill is not known",
                commands=commands,
            )
            return
        policy = systemd.unit_property(host, "OOMPolicy", units[-1])
        if policy in ("stop", "kill"):
            yield self.finding(f"{units[-1]} has OOMPolicy={policy}", commands=commands)


class _Ended(Check):
    """Something of systemd's that ends what was started in it, if the run is to be detached."""

    severity = REFUSE
    advice = "start the run in a scope of its own"

    def look(self, host: Host) -> Iterator[Finding]:
        """Look at the unit that this process is in."""
        units = systemd.units(host) if systemd.runs(host) and host.options.detach else []
        found = self.found_in(host, units) if units else None
        if found:
            yield self.finding(found, commands=(systemd.in_a_scope(host),))

    def found_in(self, host: Host, units: list[str]) -> str | None:
        """Return what ends a process that is in these units, outermost first."""
        raise NotImplementedError


class SessionKilled(_Ended):
    """logind's KillUserProcesses, if the run is to be detached."""

    name = "kill-user-processes"
    meaning = "systemd ends all processes of a login session at logout, and this run with them"

    def found_in(self, host: Host, units: list[str]) -> str | None:
        """Ask logind, if this process is in a login session; it spares some users, root as a rule.

        logind.conf(5): KillUserProcesses, KillOnlyUsers, KillExcludeUsers.
        """
        session = next((re.match(r"session-(\w+)\.scope$", unit) for unit in units), None)
        ask = functools.partial(systemd.login_property, host)
        if session is None or ask("KillUserProcesses") != "yes":
            return None
        user = ask("Name", "session", session[1])
        only, spared = ((ask(name) or "").split() for name in ("KillOnlyUsers", "KillExcludeUsers"))
        if user in spared or (only and user not in only):
            return None
        return f"KillUserProcesses is on for the login session of {user or 'an unknown user'}"


class UnitEnds(_Ended):
    """A unit that ends before the run, if the run is to be detached."""

    name = "unit-end"
    meaning = "systemd ends all processes of the unit when it ends, and this run with them"

    def found_in(self, host: Host, units: list[str]) -> str | None:
        """Look for a user's own manager, which ends at his last logout, or for a service.

        user@.service(5): it stays for users that linger. systemd.kill(5): KillMode.
        """
        user = re.match(r"user@(\d+)\.service$", units[0])
        if user is not None:
            lingers = systemd.login_property(host, "Linger", "user", user[1]) == "yes"
            ends = not lingers or (len(units) > 1 and units[-1].endswith(".service"))
            return f"this process is in {units[-1]}, which user {user[1]} runs" if ends else None
        if not units[-1].endswith(".service"):
            return None
        mode = systemd.unit_property(host, "KillMode", units[-1])
        return f"this process is in {units[-1]}" if mode in ("control-group", "mixed") else None


class OomGroup(Check):
    """memory.oom.group of our memory cgroup."""

    name = "oom-group"
    severity = REFUSE
    meaning = "an OOM kill ends every process of that cgroup, not only the benchmark's child"
    advice = "start the run in another cgroup"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report the topmost cgroup that says so."""
        own = cgroup.own(host.root)
        culprit = own.killed_whole() if own else None
        if own and culprit:
            yield self.finding(f"{host.name(culprit)} is 1", commands=leaving(host, own, culprit))


class KernelLog(Check):
    """/dev/kmsg, where the kernel confirms its kills."""

    name = "kernel-log"
    severity = REFUSE
    meaning = "no OOM kill can be confirmed, so nothing that the child got would count"
    advice = "run as root, outside of any container"
    acceptable = False

    def look(self, host: Host) -> Iterator[Finding]:
        """Open it."""
        try:
            os.close(host.open_log(host.path("dev/kmsg")))
        except OSError as error:
            yield self.finding(
                f"the kernel's log, {log.KMSG}, cannot be read ({error.strerror})",
                advice=log.advice(error),
            )


def _program(host: Host, pid: str) -> str | None:
    """Return the name of a process, or of the script that it runs if it is a Python."""
    name = host.read(f"proc/{pid}/comm")
    if name is None or not name.startswith("python"):
        return name
    words = (host.read(f"proc/{pid}/cmdline") or "").split("\0")[1:]
    script = next((word for word in words if not word.startswith("-")), name)
    return os.path.basename(script)


CHECKS = (
    PanicOnOom(),
    KillAllocatingTask(),
    Overcommit(),
    OomDaemon(),
    OomPolicy(),
    SessionKilled(),
    UnitEnds(),
    OomGroup(),
    KernelLog(),
)

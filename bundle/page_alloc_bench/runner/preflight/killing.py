# SPDX-License-Identifier: GPL-2.0-only
"""Who is killed when memory is short, and by whom: it must be our child, by the kernel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from page_alloc_bench.runner import cgroup, kernel_log

from .check import REFUSE, WARN, Check, Finding, SysctlCheck
from .host import Host

# They end processes when memory gets short, before the kernel does.
_DAEMONS = ("earlyoom", "nohang", "nohang-desktop", "oomd", "systemd-oomd")


class PanicOnOom(SysctlCheck):
    """vm.panic_on_oom."""

    name = "panic-on-oom"
    severity = REFUSE
    meaning = "the first OOM kill, and there is one in each iteration, would be a panic instead"
    sysctl = "vm.panic_on_oom"
    advice = "sysctl vm.panic_on_oom=0"


class KillAllocatingTask(SysctlCheck):
    """vm.oom_kill_allocating_task."""

    name = "oom-kill-allocating-task"
    severity = REFUSE
    meaning = "whichever process asks for memory at the wrong moment is killed, not our child"
    sysctl = "vm.oom_kill_allocating_task"
    advice = "sysctl vm.oom_kill_allocating_task=0"


class Overcommit(Check):
    """vm.overcommit_memory=2, which bounds what can be mapped."""

    name = "overcommit"
    severity = REFUSE
    meaning = "the child reaches CommitLimit before memory ends, and no OOM kill comes"
    advice = "sysctl vm.overcommit_memory=0"

    def found(self, host: Host) -> str | None:
        """Report 2, if the commit limit is in the way."""
        if host.sysctl("vm.overcommit_memory") != 2:
            return None
        memory = host.memory()
        left = memory.get("CommitLimit", 0) - memory.get("Committed_AS", 0)
        if left > memory.get("MemTotal", 0) + memory.get("SwapTotal", 0):
            return None
        return f"vm.overcommit_memory is 2, and {max(0, left) >> 20} MiB are left to commit"


class OomDaemon(Check):
    """Daemons that kill in user space."""

    name = "oom-daemon"
    severity = REFUSE
    meaning = "it kills before the kernel's OOM killer does, our child or the whole ssh session"
    advice = "stop it while the benchmark runs: systemctl stop"

    def look(self, host: Host) -> Iterator[Finding]:
        """Look at the name of every process."""
        for pid in host.names("proc"):
            name = host.read(f"proc/{pid}/comm") if pid.isdigit() else None
            if name in _DAEMONS:
                yield self.finding(f"{name} is running (PID {pid})", advice=f"{self.advice} {name}")


class OomPolicy(Check):
    """systemd's OOMPolicy of the unit that this process is in."""

    name = "oom-policy"
    severity = REFUSE
    meaning = "systemd ends the whole unit, this run included, when one process is OOM-killed"
    advice = "systemd-run --pipe --wait --same-dir -p OOMPolicy=continue $PWD/bench.run"

    def look(self, host: Host) -> Iterator[Finding]:
        """Ask systemd; a unit of a user's own manager cannot be asked about from here."""
        if not host.exists("run/systemd/system"):
            return
        units = _units(host)
        if not units:
            return
        if any(unit.startswith("user@") for unit in units[:-1]):
            yield self.finding(
                f"this process is in {units[-1]}, a unit of a user's own systemd",
                severity=WARN,
                meaning="whether its OOMPolicy ends this run at the first OOM kill is not known",
            )
            return
        show = ("show", "--property=OOMPolicy", "--value", "--", units[-1])
        policy = host.command("usr/bin/systemctl", *show) or host.command("bin/systemctl", *show)
        if policy in ("stop", "kill"):
            yield self.finding(f"{units[-1]} has OOMPolicy={policy}")


class SessionKilled(Check):
    """logind's KillUserProcesses, if the run is to be detached."""

    name = "kill-user-processes"
    severity = REFUSE
    meaning = "systemd ends all that was started in a login session, this run too, at its logout"
    advice = "start it in a scope of its own: systemd-run --scope $PWD/bench.run --detach"

    def found(self, host: Host) -> str | None:
        """Ask logind, if this process is in a login session; it spares some users, root as a rule.

        logind.conf(5): KillUserProcesses, KillOnlyUsers, KillExcludeUsers.
        """
        if not host.options.detach or not host.exists("run/systemd/system"):
            return None
        session = next((re.match(r"session-(\w+)\.scope$", unit) for unit in _units(host)), None)
        if session is None or _logind(host, "KillUserProcesses") != "yes":
            return None
        user = _logind(host, "Name", session[1])
        only, spared = (
            (_logind(host, name) or "").split() for name in ("KillOnlyUsers", "KillExcludeUsers")
        )
        if user in spared or (only and user not in only):
            return None
        return f"KillUserProcesses is on for the login session of {user or 'an unknown user'}"


class OomGroup(Check):
    """memory.oom.group of our memory cgroup."""

    name = "oom-group"
    severity = REFUSE
    meaning = "an OOM kill takes every process of that cgroup, not only the benchmark's child"
    advice = "run in another cgroup"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report the topmost cgroup that says so."""
        own = cgroup.own(host.root)
        culprit = own.killed_whole() if own else None
        if culprit:
            path = "/" + os.path.relpath(culprit, host.root)
            yield self.finding(f"{path} is 1", advice=f"run in another cgroup, or: echo 0 > {path}")


class KernelLog(Check):
    """/dev/kmsg, where the kernel confirms its kills."""

    name = "kernel-log"
    severity = REFUSE
    meaning = "no OOM kill can be confirmed, so nothing that the child got would count"
    advice = "run as root, outside of any container"

    def look(self, host: Host) -> Iterator[Finding]:
        """Open it."""
        try:
            os.close(host.open_log(host.path("dev/kmsg")))
        except OSError as error:
            yield self.finding(
                f"the kernel's log, {kernel_log.KMSG}, cannot be read ({error.strerror})",
                advice=kernel_log.advice(error),
            )


def _logind(host: Host, name: str, *session: str) -> str | None:
    """Return a property of logind, or of a session that it knows; None if there is no telling."""
    show = ("show-session", f"--property={name}", "--value", *session)
    return host.command("usr/bin/loginctl", *show) or host.command("bin/loginctl", *show)


def _units(host: Host) -> list[str]:
    """Return the units of systemd that this process is in, outermost first."""
    for line in (host.read("proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            units = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
            if units:
                return units
    return []


CHECKS = (
    PanicOnOom(),
    KillAllocatingTask(),
    Overcommit(),
    OomDaemon(),
    OomPolicy(),
    SessionKilled(),
    OomGroup(),
    KernelLog(),
)

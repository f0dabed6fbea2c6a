# SPDX-License-Identifier: GPL-2.0-only
"""What would make an end of the host of the stalls that a run causes."""

from __future__ import annotations

from collections.abc import Iterator

from . import systemd
from .check import NOTE, REFUSE, WARN, Check, Finding, SysctlCheck
from .host import Host

_SHORT_S = 60  # a host out of memory may not run its watchdog daemon for so long


class _PanicSwitch(SysctlCheck):
    """A sysctl that makes a panic of something the kernel would otherwise only report."""

    def found(self, host: Host) -> str | None:
        """Report anything but 0, with what follows the panic."""
        found = super().found(host)
        return f"{found}{_then(host)}" if found else None


class SoftlockupPanic(_PanicSwitch):
    """kernel.softlockup_panic."""

    name = "softlockup-panic"
    severity = REFUSE
    sysctl = "kernel.softlockup_panic"
    meaning = "a CPU that reclaims for long without scheduling, out of memory, panics the host"


class HungTaskPanic(_PanicSwitch):
    """kernel.hung_task_panic, if hung tasks are looked for at all."""

    name = "hung-task-panic"
    severity = REFUSE
    sysctl = "kernel.hung_task_panic"
    meaning = "a process that waits too long for memory panics the host"

    def found(self, host: Host) -> str | None:
        """Report it unless kernel.hung_task_timeout_secs is 0."""
        if host.sysctl("kernel.hung_task_timeout_secs") == 0:
            return None
        return super().found(host)


class RcuStallPanic(_PanicSwitch):
    """kernel.panic_on_rcu_stall."""

    name = "rcu-stall-panic"
    severity = REFUSE
    sysctl = "kernel.panic_on_rcu_stall"
    meaning = "a CPU kept busy for long by reclaim or by the antagonist panics the host"


class HardlockupPanic(_PanicSwitch):
    """kernel.hardlockup_panic, of use only with the NMI watchdog."""

    name = "hardlockup-panic"
    severity = WARN
    sysctl = "kernel.hardlockup_panic"
    meaning = "a CPU that holds an allocator lock for ten seconds panics the host"

    def found(self, host: Host) -> str | None:
        """Report it if the NMI watchdog is on."""
        return super().found(host) if host.sysctl("kernel.nmi_watchdog") else None


class PanicOnWarn(_PanicSwitch):
    """kernel.panic_on_warn."""

    name = "panic-on-warn"
    severity = WARN
    sysctl = "kernel.panic_on_warn"
    meaning = "any WARN during the run panics the host"


class PanicReboot(SysctlCheck):
    """kernel.panic, what follows a panic."""

    name = "panic-reboot"
    severity = NOTE
    meaning = "after a panic the host reboots by itself, and the kernel's log may be lost"
    sysctl = "kernel.panic"
    advice = "log the console or set up kdump, or turn it off"


class Watchdog(Check):
    """Watchdog timers that a daemon has to feed."""

    name = "watchdog"
    severity = REFUSE
    meaning = (
        "if its daemon cannot run for that long, because memory is used up, it resets the host"
    )
    worst = REFUSE
    advice = "stop the program that feeds it, in a way that disarms the timer"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report the active ones; a long timeout is but a warning.

        Without CONFIG_WATCHDOG_SYSFS there is no telling but by who has one open, which starts it.
        """
        for name in host.names("sys/class/watchdog"):
            directory = f"sys/class/watchdog/{name}"
            state = host.read(f"{directory}/state")
            if state not in ("active", None):
                continue
            feeder = _who_has_open(host, {f"/dev/{name}", "/dev/watchdog"})
            if state is None and feeder is None:
                continue
            timeout_s = host.number(f"{directory}/timeout")
            identity = host.read(f"{directory}/identity") or "unnamed"
            timeout = f"{timeout_s} s" if timeout_s else "unknown"
            found = f"/dev/{name} ({identity}) is active, its timeout {timeout}"
            long = timeout_s is not None and timeout_s > _SHORT_S
            commands, undo = _end(host, feeder)
            severity = WARN if long else REFUSE
            yield self.finding(found, severity=severity, commands=commands, undo=undo)


def _end(host: Host, feeder: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the commands that end what has a watchdog open, and those that undo it.

    A process that is merely killed does not let go of the timer, and the host would be reset.
    """
    if feeder is None:
        return (), ()
    return systemd.feed_no_watchdog(host) if feeder == "1" else systemd.stop(host, feeder)


def _who_has_open(host: Host, devices: set[str]) -> str | None:
    """Return the PID of a process that has one of the devices open; None if none is to be seen."""
    for pid in filter(str.isdigit, host.names("proc")):
        for fd in host.names(f"proc/{pid}/fd"):
            if host.link(f"proc/{pid}/fd/{fd}") in devices:
                return pid
    return None


def _then(host: Host) -> str:
    value = host.sysctl("kernel.panic") or 0
    return (
        "" if value == 0 else ", and a panic reboots" + (f" after {value} s" if value > 0 else "")
    )


CHECKS = (
    SoftlockupPanic(),
    HungTaskPanic(),
    RcuStallPanic(),
    HardlockupPanic(),
    PanicOnWarn(),
    PanicReboot(),
    Watchdog(),
)

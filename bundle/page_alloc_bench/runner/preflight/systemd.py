# SPDX-License-Identifier: GPL-2.0-only
"""What systemd has to say about this process, and commands that it is told by."""

from __future__ import annotations

from .host import Host

# org.freedesktop.systemd1(5): what RuntimeWatchdogSec= of systemd-system.conf(5) sets.
_WATCHDOG = (
    "org.freedesktop.systemd1 /org/freedesktop/systemd1 "
    "org.freedesktop.systemd1.Manager RuntimeWatchdogUSec"
)
# systemctl(1), is-enabled: units that systemd makes up as it runs cannot be masked.
_WITHOUT_FILE = (None, "", "transient", "generated")


def runs(host: Host) -> bool:
    """Return whether systemd is process 1, as sd_booted(3) does."""
    return host.exists("run/systemd/system")


def units(host: Host, pid: str = "self") -> list[str]:
    """Return the units that a process is in, outermost first."""
    for line in (host.read(f"proc/{pid}/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            found = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
            if found:
                return found
    return []


def of_a_user(found: list[str]) -> bool:
    """Return whether these are units of a user's own manager, which cannot be asked from here."""
    return any(unit.startswith("user@") for unit in found[:-1])


def unit_property(host: Host, name: str, unit: str) -> str | None:
    """Return a property of a unit; None if there is no telling, "" if this systemd has none."""
    show = ("show", f"--property={name}", "--value", "--", unit)
    return host.command("usr/bin/systemctl", *show) or host.command("bin/systemctl", *show)


def feed_no_watchdog(host: Host) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the command that has systemd itself let go of its watchdog, and the one to undo it."""
    fed = host.command("usr/bin/busctl", "get-property", *_WATCHDOG.split())
    undo = (f"busctl set-property {_WATCHDOG} {fed}",) if fed else ()
    return (f"busctl set-property {_WATCHDOG} t 0",), undo


def login_property(host: Host, name: str, kind: str = "session", *of: str) -> str | None:
    """Return a property of logind, or of a session or a user that it knows; None if it has none."""
    show = (f"show-{kind}", f"--property={name}", "--value", *of)
    return host.command("usr/bin/loginctl", *show) or host.command("bin/loginctl", *show)


def in_a_scope(host: Host) -> str:
    """Return the command that starts this run in a unit of its own.

    It goes on when the session or the service that it is started from ends, and when one of its
    processes is OOM-killed. Scopes have an OOMPolicy, "stop" by default, since systemd 253.
    """
    policy = "-p OOMPolicy=continue " if unit_property(host, "OOMPolicy", "init.scope") else ""
    return f"systemd-run --scope {policy}{host.again}"


def stop(host: Host, pid: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return commands that end the service of a daemon so that nothing starts it again, and undo.

    What would start it by a socket or a timer is stopped as well. Masked until the next boot, it is
    not started by D-Bus or by another unit either. Nothing is returned for a process that is in no
    service.
    """
    found = units(host, pid) if runs(host) else []
    if not found or not found[-1].endswith(".service") or of_a_user(found):
        return (), ()
    triggers = (unit_property(host, "TriggeredBy", found[-1]) or "").split()
    names = " ".join([*triggers, found[-1]])
    start = f"systemctl start {names}"
    if unit_property(host, "UnitFileState", found[-1]) in _WITHOUT_FILE:
        return (f"systemctl stop {names}",), (start,) if triggers else ()
    mask = f"systemctl mask --runtime --now {names}"
    return (mask,), (f"systemctl unmask --runtime {names}", start)

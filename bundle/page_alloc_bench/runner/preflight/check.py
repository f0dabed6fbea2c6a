# SPDX-License-Identifier: GPL-2.0-only
"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .host import Host

REFUSE, WARN, NOTE = "refuse", "warn", "note"
SEVERITIES = (REFUSE, WARN, NOTE)


@dataclass(frozen=True)
class Finding:
    """Something about the host that a user should know.

    name: of the check, for --accept. severity: refuse (no run, unless it is accepted), warn (the
    result says so too) or note. found: what there is. meaning: what it does to the figures or to
    the host. advice: how to change it.
    """

    name: str
    severity: str
    found: str
    meaning: str
    advice: str

    def line(self) -> str:
        """Return all of it in one line."""
        return f"{self.found}: {self.meaning}; {self.advice}"


class Check:
    """One thing to look at; what a finding says by default stands in the class.

    A subclass says in found() what there is, or overrides look() where there may be more than one
    finding or the severity depends on what is found.
    """

    name: str
    severity: str
    meaning: str
    advice: str

    def look(self, host: Host) -> Iterator[Finding]:
        """Yield what there is to say about the host: nothing, as a rule. May raise OSError."""
        found = self.found(host)
        if found:
            yield self.finding(found)

    def found(self, host: Host) -> str | None:
        """Return in a few words what is not as it should be; None: all is well."""
        raise NotImplementedError

    def finding(self, found: str, **other: str) -> Finding:
        """Return a finding; other: what it says differently from the class."""
        parts = {"severity": self.severity, "meaning": self.meaning, "advice": self.advice, **other}
        return Finding(name=self.name, found=found, **parts)


class SysctlCheck(Check):
    """A sysctl that should be 0."""

    sysctl: str

    def found(self, host: Host) -> str | None:
        """Report anything but 0; a kernel without it is fine."""
        value = host.sysctl(self.sysctl)
        return f"{self.sysctl} is {value}" if value else None

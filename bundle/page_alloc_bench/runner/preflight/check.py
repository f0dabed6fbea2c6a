# SPDX-License-Identifier: GPL-2.0-only
"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .host import Host

REFUSE, WARN, NOTE = "refuse", "warn", "note"
SEVERITIES = (REFUSE, WARN, NOTE)


@dataclass(frozen=True)
class Finding:
    """Something about the host that a user should know.

    name: of the check, for --accept. severity: refuse (no run, unless it is accepted), warn (the
    result says so too) or note. found: what there is. meaning: what it does to the figures or to
    the host. advice: how to change it. commands: lines for a shell that do so, one after the other;
    the last may be this run, started otherwise. undo: lines that undo them after the run.
    acceptable: whether a run that is refused could begin in spite of it.
    """

    name: str
    severity: str
    found: str
    meaning: str
    advice: str
    commands: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    acceptable: bool = True

    def line(self) -> str:
        """Return all of it in one line."""
        commands = f": {' && '.join(self.commands)}" if self.commands else ""
        undo = f"; afterwards: {' && '.join(self.undo)}" if self.undo else ""
        return f"{self.found}: {self.meaning}; {self.advice}{commands}{undo}"


class Check:
    """One thing to look at; what a finding says by default stands in the class.

    worst: the severity that a finding may have instead, where that is worse. acceptable: whether
    --accept helps. A subclass says in found() what there is, or overrides look() where there may
    be more than one finding or the severity depends on what is found.
    """

    name: str
    severity: str
    meaning: str
    advice: str
    commands: tuple[str, ...] = ()
    worst: str = NOTE
    acceptable: bool = True

    @property
    def subject(self) -> str:
        """What this looks at, as Markdown for the manual: the first line of the docstring."""
        return str(self.__doc__).partition("\n")[0].rstrip(".")

    def look(self, host: Host) -> Iterator[Finding]:
        """Yield what there is to say about the host: nothing, as a rule. May raise OSError."""
        found = self.found(host)
        if found:
            yield self.finding(found)

    def found(self, host: Host) -> str | None:
        """Return in a few words what is not as it should be; None: all is well."""
        raise NotImplementedError

    def finding(self, found: str, **other: Any) -> Finding:
        """Return a finding; other: what it says differently from the class."""
        names = ("severity", "meaning", "advice", "commands", "acceptable")
        parts = {**{name: getattr(self, name) for name in names}, **other}
        return Finding(name=self.name, found=found, **parts)


class SysctlCheck(Check):
    """A sysctl that should be 0."""

    sysctl: str
    advice = "turn it off"

    def finding(self, found: str, **other: Any) -> Finding:
        """Return a finding with the command that sets it to 0."""
        return super().finding(found, commands=(f"sysctl {self.sysctl}=0",), **other)

    def found(self, host: Host) -> str | None:
        """Report anything but 0; a kernel without it is fine."""
        value = host.sysctl(self.sysctl)
        return f"{self.sysctl} is {value}" if value else None

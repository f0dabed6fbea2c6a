# SPDX-License-Identifier: GPL-2.0-only
"""What this process has from its starter and cannot set back, see inherited/table.py."""

from __future__ import annotations

from collections.abc import Iterator

from page_alloc_bench.runner.result.inherited import TRAITS

from .check import REFUSE, WARN, Check, Finding
from .host import Host

_CAPABILITIES = "missing_capabilities"


class Capabilities(Check):
    """Capabilities that root lacks here."""

    name = "capabilities"
    severity = REFUSE
    acceptable = False
    meaning = "they are needed to load the module, to open it, and to be exempt from the OOM killer"
    advice = (
        "start the run as root with all capabilities: no CapabilityBoundingSet= in its unit, no "
        "securebits, outside of any container"
    )

    def found(self, host: Host) -> str | None:
        """Name them; who is not root lacks all."""
        missing = host.inherited().get(_CAPABILITIES)
        if host.euid != 0 or not missing:
            return None
        return f"root has no {', '.join(f'CAP_{name}'.upper() for name in str(missing).split())}"


class Inherited(Check):
    """Scheduling, limits, cgroup and so on from the starter, as far as a run cannot reset them."""

    name = "inherited"
    severity = WARN
    meaning = "it changes the figures, so that they differ from those of other runs"
    advice = "start the run from an ordinary login"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report each, with what it does and what to do about it."""
        values = host.inherited()
        for trait in TRAITS:
            value = values.get(trait.name)
            if trait.name == _CAPABILITIES or trait.is_usual(value):
                continue
            found = f"this process has inherited: {trait.name.replace('_', ' ')} {value}"
            yield self.finding(found, meaning=trait.meaning, advice=trait.advice)


CHECKS = (Capabilities(), Inherited())

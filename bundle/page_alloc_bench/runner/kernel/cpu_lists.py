# SPDX-License-Identifier: GPL-2.0-only
"""The lists of free pages that each CPU keeps of each zone: /proc/zoneinfo, pagesets.

mm/vmstat.c, zoneinfo_show_print(). count: pages on a list. high: where a list is drained. batch:
pages per refill. From 6.7 on high moves between high_min and high_max (90b41691b988, "mm: add
framework for PCP high auto-tuning"); a kernel that does not tell these has none here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import procfs

_ZONE = re.compile(r"Node (\d+), zone +(\w+)")
_KEYS = ("count", "high", "batch", "high_min", "high_max")
_NOT_FOR_KERNEL = ("Movable", "Device")


@dataclass
class ZoneLists:
    """The lists of one zone: the values of each of _KEYS by CPU."""

    node: int
    zone: str
    values: dict[str, dict[int, int]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return it as run.pcp has it: which CPUs have a value, by the value; count as a sum."""
        found: dict[str, Any] = {"zone": f"node {self.node} zone {self.zone}"}
        for key, by_cpu in self.values.items():
            if key == "count":
                found["count_pages"] = sum(by_cpu.values())
                continue
            cpus: dict[int, list[int]] = {}
            for cpu, value in by_cpu.items():
                cpus.setdefault(value, []).append(cpu)
            found[key] = {str(value): procfs.format_list(of) for value, of in sorted(cpus.items())}
        return found


def read() -> list[ZoneLists]:
    """Return the lists of all zones that have memory; none where the kernel does not tell."""
    try:
        with open("/proc/zoneinfo", encoding="ascii") as file:  # megabytes on a large machine
            return parse(file)
    except OSError:
        return []


def parse(lines: Iterable[str]) -> list[ZoneLists]:
    """Return what the lines of /proc/zoneinfo say."""
    found: list[ZoneLists] = []
    cpu = None
    for line in lines:
        if match := _ZONE.match(line):
            found.append(ZoneLists(int(match[1]), match[2]))
            cpu = None
            continue
        name, colon, value = line.strip().partition(":")
        if not colon or not found:
            continue
        if name == "cpu":
            cpu = int(value)
        elif cpu is not None and name in _KEYS:
            found[-1].values.setdefault(name, {})[cpu] = int(value)
    return [zone for zone in found if zone.values]


def high_pages(zones: Collection[ZoneLists], cpus: Collection[int]) -> int:
    """Return how many pages the list of a CPU holds at most before it grows by itself; 0: unknown.

    Of each node's topmost zone that the kernel's own allocations come from, the smallest: as many
    fit on the list of each CPU, whichever its node is.
    """
    topmost = {each.node: each for each in zones if each.zone not in _NOT_FOR_KERNEL}
    least = (
        each.values.get("high_min") or each.values.get("high", {}) for each in topmost.values()
    )
    return min((high for by_cpu in least for cpu, high in by_cpu.items() if cpu in cpus), default=0)


def most_pages() -> int:
    """Return how many pages the lists of all CPUs and zones hold before they are drained."""
    return sum(sum(each.values.get("high", {}).values()) for each in read())

# SPDX-License-Identifier: GPL-2.0-only
"""Free blocks by order and migratetype: /proc/pagetypeinfo, which only root may read.

mm/vmstat.c, pagetypeinfo_showfree_print(): the kernel counts them one by one with the zone's lock
held, and says ">100000" of more (93b3a674485f, "mm,vmstat: reduce zone->lock holding time by
/proc/pagetypeinfo"). So nothing that is timed may run meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_FREE = re.compile(r"Node +(\d+), zone +(\w+), type +(\w+) (.*)")
_BLOCKS = re.compile(r"Node +(\d+), zone +(\w+) (.*)")
_HEAD, _MIXED = "Number of blocks type", "Number of mixed"


def read() -> list[dict[str, Any]]:
    """Return what run.free_by_type has of each zone; nothing where the kernel does not tell."""
    try:
        with open("/proc/pagetypeinfo", encoding="ascii") as file:
            return parse(file)
    except OSError:
        return []


def parse(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the lines of /proc/pagetypeinfo say of each zone that has any block."""
    found: dict[str, dict[str, Any]] = {}
    types: list[str] = []
    for line in lines:
        if line.startswith((_HEAD, _MIXED)):
            types = line[len(_HEAD) :].split() if line.startswith(_HEAD) else []
        elif match := _FREE.match(line):
            counts = [None if n.startswith(">") else int(n) for n in match[4].split()]
            if counts != [0] * len(counts):
                _zone(found, match)["free"][match[3]] = counts
        elif types and (match := _BLOCKS.match(line)):
            numbers = zip(types, map(int, match[3].split()))
            blocks = {name: number for name, number in numbers if number}
            if blocks:
                _zone(found, match)["pageblocks"] = blocks
    return list(found.values())


def _zone(found: dict[str, dict[str, Any]], match: re.Match[str]) -> dict[str, Any]:
    name = f"node {match[1]} zone {match[2]}"
    return found.setdefault(name, {"zone": name, "free": {}, "pageblocks": {}})

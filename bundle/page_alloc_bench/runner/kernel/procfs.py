# SPDX-License-Identifier: GPL-2.0-only
"""Read the kernel's tables in /proc and /sys."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

CPUS = "/sys/devices/system/cpu"
NODES = "/sys/devices/system/node"


def read(path: str) -> str:
    """Return the text of a file in /proc or /sys. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def read_or_none(path: str) -> str | None:
    """Return the stripped text of path, None where the kernel does not offer or allow it."""
    try:
        return read(path).strip()
    except OSError:
        return None


def parse_list(text: str) -> list[int]:
    """Return the numbers of a kernel list such as "0-3,8", sorted, each once.

    Raises ValueError for anything else; the empty list is "" to the kernel.
    """
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"not a list of numbers: {text.strip()!r}")
        start, end = int(first), int(last or first)
        if end < start:
            raise ValueError(f"a range whose end is before its start: {part!r}")
        numbers.update(range(start, end + 1))
    return sorted(numbers)


def format_list(numbers: Iterable[int]) -> str:
    """Return numbers the way the kernel writes a list: "0-3,8"."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def start_ticks(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None if it has ended.

    Number and time together name a process for good, as a number alone does not. A zombie has
    ended, also where nobody reaps it.
    """
    try:
        text = read(f"/proc/{pid}/stat")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # man 5 proc: from the third, the state, on
    return None if fields[0] in ("Z", "X") else int(fields[19])


def online_cpus() -> list[int]:
    """Return the numbers of the CPUs that are online."""
    return parse_list(read(f"{CPUS}/online"))


def present_cpus() -> list[int]:
    """Return the numbers of the CPUs that exist, online or not."""
    return parse_list(read(f"{CPUS}/present"))


def nodes() -> list[int]:
    """Return the numbers of the online nodes; [0] on a kernel without NUMA."""
    text = read_or_none(f"{NODES}/online")
    return parse_list(text) if text is not None else [0]


def parse_meminfo(text: str) -> dict[str, int]:
    """Return /proc/meminfo, or a node's meminfo, in bytes by name (counts keep their value)."""
    table: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        if fields:
            unit = 1024 if fields[1:] == ["kB"] else 1
            table[name.split()[-1]] = int(fields[0]) * unit  # a node's lines begin "Node 10 "
    return table


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    return parse_meminfo(read("/proc/meminfo"))


def vmstat() -> dict[str, int]:
    """Return /proc/vmstat: counters of events since boot, and nr_* gauges in pages."""
    return {
        name: int(value)
        for name, _, value in (line.partition(" ") for line in read("/proc/vmstat").splitlines())
    }


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return what has changed between two readings of /proc/vmstat, by name."""
    return {
        name: after[name] - before[name]
        for name in after
        if name in before and after[name] != before[name]
    }


def parse_buddyinfo(text: str) -> dict[str, list[int]]:
    """Return the free blocks of each order by zone, named "node 0 DMA32"."""
    table: dict[str, list[int]] = {}
    for line in text.splitlines():
        head, _, rest = line.partition(", zone")
        zone, *counts = rest.split()
        table[f"{head.lower()} {zone}"] = [int(count) for count in counts]
    return table


def buddyinfo() -> dict[str, list[int]]:
    """Return /proc/buddyinfo, see parse_buddyinfo."""
    return parse_buddyinfo(read("/proc/buddyinfo"))


def zone_pages(root: str = "/") -> tuple[int, int]:
    """Return the pages on the lists that CPUs keep, and the min watermarks, of all zones together.

    mm/vmstat.c, zoneinfo_show_print(): a "min", and one "count:" for every CPU of every zone, which
    makes megabytes where there are many of both. So no more than a line is held in memory.
    """
    on_lists = least = 0
    with open(os.path.join(root, "proc/zoneinfo"), encoding="ascii") as file:
        for line in file:
            name, _, value = line.strip().partition(" ")
            if name == "count:":
                on_lists += int(value)
            elif name == "min":
                least += int(value)
    return on_lists, least


def largest_order() -> int:
    """Return the order of the largest block that the page allocator keeps."""
    return max(len(counts) for counts in buddyinfo().values()) - 1


def page_size() -> int:
    """Return the size of a page in bytes."""
    return os.sysconf("SC_PAGE_SIZE")

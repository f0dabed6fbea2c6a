# SPDX-License-Identifier: GPL-2.0-only
"""Where pages can go other than staying in memory."""

from __future__ import annotations

from collections.abc import Iterator

from .check import NOTE, WARN, Check, Finding
from .host import Host

_ADVICE = "give --no-swap, which keeps the child's memory out of swap, or turn swap off"
_OFF = ("swapoff -a",)


class Swap(Check):
    """Swap areas on disks and in files."""

    name = "swap"
    severity = WARN
    meaning = "available memory includes what fits there, and durations depend on the disk"
    advice = _ADVICE
    commands = _OFF

    def look(self, host: Host) -> Iterator[Finding]:
        """Report areas in use, but for compressed memory."""
        areas = [area for area in _areas(host) if not _in_memory(area)]
        if areas:
            yield _milder(self, host, f"swap is in use: {', '.join(areas)}")


class Zram(Check):
    """Swap in compressed memory."""

    name = "zram"
    severity = WARN
    meaning = (
        "the child's pages are all zero and need no room there: far more than the memory is counted"
    )
    advice = _ADVICE
    commands = _OFF

    def look(self, host: Host) -> Iterator[Finding]:
        """Report areas in use."""
        areas = [area for area in _areas(host) if _in_memory(area)]
        if areas:
            yield _milder(self, host, f"swap in compressed memory is in use: {', '.join(areas)}")


class Zswap(Check):
    """Compressed memory before the swap areas."""

    name = "zswap"
    severity = WARN
    meaning = "pages on their way to swap are compressed into memory instead"
    advice = "give --no-swap, or turn it off"
    commands = ("echo N > /sys/module/zswap/parameters/enabled",)

    def look(self, host: Host) -> Iterator[Finding]:
        """Report it if there is swap at all, without which it does nothing."""
        if host.read("sys/module/zswap/parameters/enabled") == "Y" and _areas(host):
            yield _milder(self, host, "zswap is on")


def _milder(check: Check, host: Host, found: str) -> Finding:
    """Return a finding, but a note where the child does not swap."""
    if not host.options.no_swap:
        return check.finding(found)
    meaning = (
        "with --no-swap the child stays out of swap; other processes do not, which makes a little "
        "room"
    )
    return check.finding(found, severity=NOTE, meaning=meaning, advice="turn it off")


def _areas(host: Host) -> list[str]:
    """Return the paths of the swap areas."""
    return [line.split()[0] for line in (host.read("proc/swaps") or "").splitlines()[1:]]


def _in_memory(area: str) -> bool:
    return area.startswith("/dev/zram")


CHECKS = (Swap(), Zram(), Zswap())

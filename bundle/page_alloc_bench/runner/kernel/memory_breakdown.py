# SPDX-License-Identifier: GPL-2.0-only
"""Where the machine's memory is: free, in user space's hands, in the kernel's, in nobody's.

Two readings of it make what a child of findlimit got explicable: one before it begins (from
/proc/meminfo and /proc/zoneinfo), and one at its OOM kill (from the kernel's report). Both count
the same things. What no counter of the kernel names is what is left of the machine's total: memory
that drivers, modules (the antagonist's blocks) and per-CPU data took from the page allocator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import procfs
from .procfs import page_size

# The lists of pages that belong to user space and the page cache: in meminfo, in the report.
_LISTS = ("Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable")
_REPORTED_LISTS = (
    "active_anon",
    "inactive_anon",
    "isolated_anon",
    "active_file",
    "inactive_file",
    "isolated_file",
    "unevictable",
)
_COUNT = re.compile(r"\b([a-z_]+):(\d+)")  # show_free_areas(), in pages
_STACK = re.compile(r"^Node \d+ active_anon:.* kernel_stack:(\d+)kB")
_ZONE = re.compile(r"^Node \d+ \S+ free:\d+kB (?:boost:\d+kB )?min:(\d+)kB .* managed:(\d+)kB")


@dataclass(frozen=True)
class Ledger:
    """The machine's memory at one moment, in bytes.

    total: what the page allocator manages. free: in the zones. pcp: free, on the lists that each
    CPU keeps. user: pages of processes, and the page cache. min_watermark: what of free only an
    allocation that must not fail may take.
    """

    total: int
    free: int
    pcp: int
    user: int
    slab: int
    page_tables: int
    kernel_stack: int
    min_watermark: int

    @property
    def unnamed(self) -> int:
        """Return what no counter names; a little less than 0 where all is named and in motion."""
        named = self.free + self.pcp + self.user + self.slab + self.page_tables + self.kernel_stack
        return self.total - named


def now(root: str = "/") -> Ledger:
    """Return how it is now."""
    sizes = procfs.parse_meminfo(Path(root, "proc/meminfo").read_text())
    pcp, least = procfs.zone_pages(root)
    return Ledger(
        total=sizes["MemTotal"],
        free=sizes["MemFree"],
        pcp=pcp * page_size(),
        user=sum(sizes[name] for name in _LISTS),
        slab=sizes["Slab"],
        page_tables=sizes["PageTables"] + sizes.get("SecPageTables", 0),
        kernel_stack=sizes["KernelStack"],
        min_watermark=least * page_size(),
    )


def at_kill(report: Sequence[str]) -> Ledger | None:
    """Return how it was by the kernel's report of an OOM kill; None if it does not say.

    The report of a memory cgroup's OOM kill does not.
    """
    counts = next((text for text in report if text.startswith("active_anon:")), None)
    zones = [zone for text in report if (zone := _ZONE.match(text))]
    if counts is None or not zones:
        return None
    pages = {name: int(count) for name, count in _COUNT.findall(counts)}
    kernel_stack_kib = sum(int(node[1]) for text in report if (node := _STACK.match(text)))
    size = page_size()
    return Ledger(
        total=sum(int(zone[2]) for zone in zones) << 10,
        free=pages["free"] * size,
        pcp=pages["free_pcp"] * size,
        user=sum(pages[name] for name in _REPORTED_LISTS) * size,
        slab=(pages["slab_reclaimable"] + pages["slab_unreclaimable"]) * size,
        page_tables=(pages["pagetables"] + pages.get("sec_pagetables", 0)) * size,
        kernel_stack=kernel_stack_kib << 10,
        min_watermark=sum(int(zone[1]) for zone in zones) << 10,
    )

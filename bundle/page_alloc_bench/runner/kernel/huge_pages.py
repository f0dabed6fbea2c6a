# SPDX-License-Identifier: GPL-2.0-only
"""Which sizes of pages a process can have, and what the kernel counts of each.

Documentation/admin-guide/mm/transhuge.rst: a huge page of a page table's upper level; from 6.8 on
smaller sizes too, each with a setting of its own (3485b88390b0, "mm: thp: introduce multi-size THP
sysfs interface").
"""

from __future__ import annotations

import re

from . import memory, procfs

_THP = "/sys/kernel/mm/transparent_hugepage"


def huge_order() -> int:
    """Return the order of the huge page that a page table's upper level maps."""
    return (memory.huge_page_bytes() // procfs.page_size()).bit_length() - 1


def why_not(order: int) -> str | None:
    """Return why a process that asks for them gets no pages of an order; None if it can."""
    if order == 0:
        return None
    name, mode, own = _directory(order), memory.thp_mode(), _mode(order)
    if mode is None or order > huge_order() or (own is None and order != huge_order()):
        return f"this kernel has no {name.replace('-', ' of ', 1)}"
    if (own or mode) == "never":
        where = f"{_THP}/{name}/enabled" if own else f"{_THP}/enabled"
        return f"they are switched off; to have them: echo madvise > {where}"
    for larger in range(order + 1, huge_order() + 1):
        if (_mode(larger) or (mode if larger == huge_order() else "never")) != "never":
            switch = f"{_THP}/{_directory(larger)}/enabled"
            return f"the kernel prefers larger ones; to have these: echo never > {switch}"
    return None


def counted(order: int) -> tuple[int, int] | None:
    """Return how often a fault has got a page of an order, and how often it has not.

    None where the kernel does not count that.
    """
    if order == huge_order():
        table = procfs.vmstat()
        if "thp_fault_alloc" in table:
            return table["thp_fault_alloc"], table.get("thp_fault_fallback", 0)
    of = f"{_THP}/{_directory(order)}/stats/anon_fault_"
    texts = [procfs.read_or_none(of + name) for name in ("alloc", "fallback")]
    return (int(texts[0]), int(texts[1])) if texts[0] and texts[1] else None


def _directory(order: int) -> str:
    return f"hugepages-{(procfs.page_size() << order) >> 10}kB"


def _mode(order: int) -> str | None:
    """Return the setting of one size; None where the kernel has no such."""
    text = procfs.read_or_none(f"{_THP}/{_directory(order)}/enabled")
    found = re.search(r"\[(\w+)\]", text or "")
    if found is None:
        return None
    return memory.thp_mode() if found[1] == "inherit" else found[1]

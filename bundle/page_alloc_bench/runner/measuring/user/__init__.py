# SPDX-License-Identifier: GPL-2.0-only
"""Workloads whose processes use memory of their own: user space's way to the allocator.

They have no pattern of the module. Their orders are those of the page sizes that are asked for.
"""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import ALL, Sizes
from page_alloc_bench.runner.command_line.option import Option, Part
from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.measuring import rate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from typing import Any

    from page_alloc_bench.runner.measuring.bench import Bench
    from page_alloc_bench.runner.result.case import Case

BASE, THP = "base", "thp"

PAGES = Part(
    "page-sizes",
    "workloads whose processes use memory",
    (
        Option(
            "page_sizes",
            Sizes(BASE, THP),
            [BASE, THP],
            "pages that processes ask for: base, thp (the huge page of a page table's upper level),"
            " or a size between them like 64k",
            metavar="LIST",
            kind="invalidating",
            always=False,
        ),
    ),
)

CHECKS = rate.CHECKS | {"memory-cgroup"}
_PART = 8  # of the memory one part in so many may be used, in default sizes


def orders(options: Namespace) -> list[int]:
    """Return the orders of the page sizes that are asked for, each once."""
    from page_alloc_bench.runner.kernel import huge_pages, procfs

    known = {BASE: 0, THP: huge_pages.huge_order()}
    return list(
        dict.fromkeys(
            known[size] if size in known
            else max(int(size[:-1]) * 1024 // procfs.page_size(), 1).bit_length() - 1
            for size in options.page_sizes
        )
    )  # fmt: skip


def steps(options: Namespace, cpus: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the CPUs of each step, each once."""
    sizes = (len(cpus) if step == ALL else int(step) for step in options.cpus_steps)
    return [tuple(cpus[:size]) for size in dict.fromkeys(sizes)]


def share_bytes(most: int, processes: int) -> int:
    """Return how much each of so many processes uses: a power of two, a huge page at least.

    It depends on the machine's memory, and not on what is free: runs of one host can be compared.
    """
    from page_alloc_bench.runner.kernel import memory, procfs

    share = min(most, procfs.meminfo().get("MemTotal", 0) // _PART // processes)
    return max(1 << max(share.bit_length() - 1, 0), memory.huge_page_bytes())


class Told:
    """What run.workloads says of a workload: its cases, and those that cannot be measured here."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._name = name
        self.cases: list[dict[str, Any]] = []
        self._absent: list[dict[str, str]] = []
        told = {"name": name, "cases": self.cases, "absent": self._absent}
        bench.document.run.setdefault("workloads", []).append(told)

    def left_out(self, case: Case, held: int) -> bool:
        """Say why a case is left out; return whether it is. held: what it uses, in bytes."""
        from page_alloc_bench.runner.kernel import huge_pages, procfs
        from page_alloc_bench.runner.measuring.rate.cases import PART, room_bytes
        from page_alloc_bench.runner.result import units

        from .populated import can_populate

        why = huge_pages.why_not(case.order)
        if why is None and not can_populate():
            why = "this kernel has no MADV_POPULATE_WRITE, as Linux has from 5.14 on"
        if why is not None:
            self._absent.append({"case": case.suffix(), "why": why})
            return True
        room = room_bytes(procfs.meminfo())
        if held > room:
            self._bench.warn(
                f"{self._name}, {case}: left out: it would use {units.whole_mib(held)}, more than "
                f"1/{PART} of what is available, which is {units.whole_mib(room)}"
            )
        return held > room

    def ended(self) -> None:
        """Say that nothing could be measured, if so. Raises RunnerError where memory was short."""
        if not self.cases and self._absent:
            self._bench.warn(f"{self._name}: not measured: {self._absent[0]['why']}")
        elif not self.cases:
            raise RunnerError(f"{self._name}: no case could be measured; the warnings say why")

# SPDX-License-Identifier: GPL-2.0-only
"""Put where the memory was, and what the kernel counted, into the result, beside our own figures.

Where the two cannot both be true (agreement.py), the result has a warning that names both.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from page_alloc_bench.runner.kernel import memory_breakdown
from page_alloc_bench.runner.measuring.agreement import Scene, agree
from page_alloc_bench.runner.measuring.findlimit import measure
from page_alloc_bench.runner.result import units
from page_alloc_bench.runner.result.document import Document

# include/linux/vm_event_item.h: one counter a zone.
_PGALLOC = re.compile(r"pgalloc_(dma|dma32|normal|high|movable|device)$")


class Accounts:
    """The accounts of one run. document: takes the figures. warn: takes a warning."""

    def __init__(self, document: Document, warn: Callable[[str], object], scene: Scene) -> None:
        """scene: what holds for the whole run: CPUs, nodes, sizes."""
        self._document = document
        self._warn = warn
        self._scene = scene
        self._available: int | None = None  # before the last idle iteration that changed it

    def kills(self, phase: str, order: int, kernel: int, ours: int) -> None:
        """Hold the kernel's count of OOM kills in a phase against ours."""
        if not agree("oom kills", ours, kernel):
            self._warn(
                f"{phase} at order {order}: the kernel counts {kernel} OOM kills, and {ours} were "
                "ours: others were killed too, or its counter is wrong"
            )

    def iteration(
        self, phase: str, order: int, number: int, limit: measure.Limit, held: int | None
    ) -> None:
        """Record where the memory was that the child of one iteration did not get.

        held: what the antagonist held at the kill, in bytes; None if that is not known.
        """
        document = self._document
        document.append(f"{phase}_memavailable_bytes", order, limit.mem_available_bytes)
        if limit.child_page_tables_bytes is not None:
            document.append(
                f"{phase}_child_page_tables_bytes", order, limit.child_page_tables_bytes
            )
        if phase == "idle":
            self._check_available(f"idle at order {order}, iteration {number}", limit)
        kill = limit.at_kill
        if kill is None or held is None:
            return
        in_memory = limit.available_bytes - limit.swapped_bytes
        unnamed = max(0, kill.unnamed - held)
        for name, value in (
            ("free", kill.free),
            ("min_watermark", kill.min_watermark),
            ("pcp", kill.pcp),
            ("user", max(0, kill.user - in_memory)),
            ("slab", kill.slab),
            ("page_tables", kill.page_tables),
            ("kernel_stack", kill.kernel_stack),
            ("unnamed", unnamed),
        ):
            document.append(f"{phase}_left_{name}_bytes", order, value)
        document.append(f"{phase}_reachable_bytes", order, limit.available_bytes + kill.pcp)
        if phase == "idle":
            self._check_unnamed(f"idle at order {order}, iteration {number}", limit, unnamed)

    def _check_available(self, where: str, limit: measure.Limit) -> None:
        """Hold what was available before an iteration against what was before earlier ones.

        With the CPUs' lists, which MemAvailable leaves out, and without what went to swap: an
        iteration moves there what others have.
        """
        available = limit.mem_available_bytes + limit.before.pcp - limit.swapped_before_bytes
        before, scene = self._available, self._scene
        if before is None:
            self._available = available
            return
        scene = dataclasses.replace(scene, memory_bytes=limit.before.total)
        if not agree("available memory", before, available, scene):
            self._available = available  # told once
            what = "took" if available < before else "gave back"
            self._warn(
                f"{where}: {units.whole_mib(available)} were available before it, "
                f"{units.whole_mib(before)} before earlier ones: another process, or the host of a "
                f"virtual machine, {what} memory; stop that and run again"
            )

    def _check_unnamed(self, where: str, limit: measure.Limit, unnamed: int) -> None:
        before = limit.before.unnamed
        scene = dataclasses.replace(
            self._scene,
            memory_bytes=limit.before.total,
            swapped_bytes=limit.swap_used_bytes,
        )
        # Less than before is not a loss: memory that was not named has come back.
        if unnamed > before and not agree("unnamed memory", before, unnamed, scene):
            self._warn(
                f"{where}: {units.whole_mib(unnamed)} were in no counter of the kernel at the OOM "
                f"kill, {units.whole_mib(before)} before it: something took memory meanwhile, and "
                "does not say so"
            )

    def pages(self, order: int, delta: Mapping[str, int], iterations: int) -> None:
        """Hold what the kernel counted from start to stop against what antagonist and child did.

        delta: the change of /proc/vmstat. Not if the last child was cut short: what that one had
        is not known.
        """
        document, page = self._document, self._scene.page_bytes
        children = document.get("antagonized_available_bytes", order)
        if len(children) < iterations:
            return
        child = sum(children) // page
        for word, kernel, name in (
            ("allocated", sum(n for key, n in delta.items() if _PGALLOC.match(key)), "allocs"),
            ("freed", delta.get("pgfree", 0), "frees"),
        ):
            ours = (document.get(f"kernel_page_{name}", order)[0] << order) + child
            document.put(f"kernel_pages_{word}_by_vmstat", order, [kernel])
            document.put(f"kernel_pages_{word}_by_us", order, [ours])
            scene = dataclasses.replace(
                self._scene,
                counted_bytes=ours * page,
                last_child_bytes=children[-1],
                swap_traffic_bytes=(delta.get("pswpin", 0) + delta.get("pswpout", 0)) * page,
                compacted_bytes=delta.get("compact_success", 0)
                * max(self._scene.huge_bytes, page << order),
            )
            if not agree(f"pages {word}", ours * page, kernel * page, scene):
                self._warn(
                    f"order {order}: the kernel counts {kernel:,} pages {word} while the "
                    f"antagonist ran, and antagonist and child together {ours:,}"
                )


def entries(book: memory_breakdown.Ledger) -> dict[str, Any]:
    """Return a ledger as run.iterations has it."""
    return {
        **{f"{name}_bytes": value for name, value in vars(book).items()},
        "unnamed_bytes": book.unnamed,
    }

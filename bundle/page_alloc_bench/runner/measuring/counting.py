# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel and the CPUs count in a pass of its own: --counters.

include/trace/events/kmem.h has the tracepoints; mm/page_alloc.c the two functions, each of which
holds the zone's lock once for all pages that it moves.
"""

from __future__ import annotations

from collections.abc import Mapping

from page_alloc_bench.runner.kernel import migrate_types
from page_alloc_bench.runner.kernel.perf_events import Event

_LOCKED = "kmem/mm_page_alloc_zone_locked"
_EXTFRAG = "kmem/mm_page_alloc_extfrag"


def of_fallbacks() -> dict[str, Event]:
    """Return the events of blocks that are taken from another migrate type, by their kinds.

    They are rare, and cost little to count.
    """
    types = migrate_types.read()
    found = {
        "extfrag": Event(tracepoint=_EXTFRAG),
        "converted": Event(tracepoint=_EXTFRAG, where="change_ownership == 1"),
    }
    if types is not None:
        unmovable, movable = types.number("Unmovable"), types.number("Movable")
        kinds = {
            "unmovable_in_movable": f"alloc_migratetype == {unmovable} && "
            f"fallback_migratetype == {movable}",
            "movable_elsewhere": f"alloc_migratetype == {movable}",
            "broken_up": f"fallback_order < {types.block_order}",
        }
        found.update({n: Event(tracepoint=_EXTFRAG, where=where) for n, where in kinds.items()})
    return found


def of_rates() -> dict[str, Event]:
    """Return the events of a workload that measures rates. There are many of them."""
    return {
        "refilled": Event(tracepoint=_LOCKED, where="percpu_refill == 1"),
        "direct": Event(tracepoint=_LOCKED, where="percpu_refill == 0"),
        "drained": Event(tracepoint="kmem/mm_page_pcpu_drain"),
        "refills": Event(function="rmqueue_bulk"),
        "drains": Event(function="free_pcppages_bulk"),
        "cycles": Event(hardware="cycles"),
        "instructions": Event(hardware="instructions"),
        "cache-misses": Event(hardware="cache-misses"),
        **of_fallbacks(),
    }


def fallbacks(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the figures of fallbacks, by the names of their metrics without the workload's.

    counts: of events, those that were counted.
    """
    known = ("converted", "unmovable_in_movable", "movable_elsewhere", "broken_up")
    found = {f"extfrag_{each}": counts[each] for each in known if each in counts}
    if "extfrag" in counts:
        found["extfrag_events"] = counts["extfrag"]
    return found


def figures(counts: Mapping[str, int], allocs: int, order: int) -> dict[str, int]:
    """Return the figures that follow, by the names of their metrics without the workload's.

    counts: as of fallbacks(). allocs: in the meantime, of an order, all on the CPUs on which was
    counted.
    """
    pages = allocs << order
    found = {"counted_pages": pages, **fallbacks(counts)}
    for event, name in (
        ("refilled", "refilled_pages"), ("direct", "zone_pages"), ("drained", "drained_pages")
    ):  # fmt: skip
        if event in counts:
            found[name] = counts[event] << order
    holds = [counts[each] for each in ("refills", "drains", "direct") if each in counts]
    if pages and len(holds) == 3:
        found["lock_holds_per_1000_pages"] = round(sum(holds) * 1000 / pages)
    for moved, calls, name in (
        ("refilled", "refills", "pages_per_refill"), ("drained", "drains", "pages_per_drain")
    ):  # fmt: skip
        if counts.get(calls) and moved in counts:
            found[name] = round((counts[moved] << order) / counts[calls])
    for event in ("cycles", "instructions", "cache-misses"):
        if event in counts and allocs:
            name = f"{event.replace('-', '_')}_per_1000_operations"
            found[name] = round(counts[event] * 1000 / allocs)
    return found

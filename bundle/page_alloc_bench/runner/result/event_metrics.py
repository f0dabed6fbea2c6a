# SPDX-License-Identifier: GPL-2.0-only
"""The metrics of what the kernel and the CPUs count in a pass of its own: --counters.

mm/page_alloc.c, __rmqueue_smallest(): percpu_refill tells whether the lists keep such pages, not
whether this one came to a list.
"""

from __future__ import annotations

from collections.abc import Iterator

from .metrics import Kind, Metric, Rank

_WHERE = " With --counters; one item. Absent where the host cannot count it."


def fallbacks(workload: str, subtest: str = "") -> Iterator[Metric]:
    """Yield the metrics of blocks that were taken from another migrate type.

    subtest: of KTAP, of a workload that is about them.
    """
    for name, what, label in (
        ("events", "Allocations that took a block of another migrate type (mm_page_alloc_extfrag)",
         "fallbacks to another type"),
        ("converted", "Of extfrag_events, those that changed the type of the page block",
         "page blocks converted"),
        ("unmovable_in_movable", "Of extfrag_events, those by which a page that cannot be moved"
         " came into a movable page block", "unmovable in movable"),
        ("movable_elsewhere", "Of extfrag_events, those by which a page that can be moved came into"
         " a page block of another type", "movable elsewhere"),
        ("broken_up", "Of extfrag_events, those that took less than a page block",
         "blocks broken up"),
    ):  # fmt: skip
        yield Metric(
            f"{workload}_extfrag_{name}", "events", "lower", what + "." + _WHERE, Kind.AMOUNT,
            f"{workload}: {label}", f"{workload[:4]} {label}"[:12],
            family=f"fragmentation events, {workload}", rank=Rank.SHOWN, in_table=bool(subtest),
            section=f"{workload}-fallbacks", subtest=subtest,
        )  # fmt: skip


def events(workload: str) -> Iterator[Metric]:
    """Yield the metrics of a workload that measures rates."""
    counted = f"{workload}_counted_pages"
    yield Metric(
        counted, "pages", None,
        "Pages that the workers allocated while events were counted." + _WHERE,
        Kind.COUNT, f"{workload}: pages allocated while counting",
    )  # fmt: skip
    for name, what, label in (
        ("refilled_pages", "Pages from the zone, of orders and migrate types that the CPUs' lists"
         " keep (mm_page_alloc_zone_locked with percpu_refill). The few that pass a list by are"
         " contained: the kernel does not tell them apart", "pages from the zone to a list"),
        ("zone_pages", "Pages from the zone, of orders or migrate types that no list keeps"
         " (mm_page_alloc_zone_locked without percpu_refill)", "pages from the zone"),
        ("drained_pages", "Pages that went from a CPU's list to the zone (mm_page_pcpu_drain)",
         "pages from a list to the zone"),
    ):  # fmt: skip
        yield Metric(
            f"{workload}_{name}", "pages", "lower", what + "." + _WHERE, Kind.SHARE,
            f"{workload}: {label}", of=(counted,), family=f"{workload} events", rank=Rank.SHOWN,
            section=f"{workload}-events", remark=f"{{share:.2f}} {label} per 100 pages",
            remark_of_none=False,
        )  # fmt: skip
    for name, unit, better, what, label in (
        ("lock_holds_per_1000_pages", "holds", "lower", "How often the zone's lock was taken for"
         " 1000 pages: refills, drains, and blocks that came from the zone alone. What was freed to"
         " the zone alone is not counted by the kernel, and not contained", "lock holds"),
        ("pages_per_refill", "pages", None, "Pages of one refill of a CPU's list, under one hold of"
         " the zone's lock (calls of rmqueue_bulk)", "pages of a refill"),
        ("pages_per_drain", "pages", None, "Pages of one drain of a CPU's list, under one hold of"
         " the zone's lock (calls of free_pcppages_bulk)", "pages of a drain"),
        *(
            (f"{event}_per_1000_operations", unit, "lower", f"{unit.capitalize()} of 1000"
             " allocations and their frees, with all else that the CPUs did", unit)
            for event, unit in (("cycles", "cycles"), ("instructions", "instructions"),
                                ("cache_misses", "cache misses"))
        ),
    ):  # fmt: skip
        yield Metric(
            f"{workload}_{name}", unit, "lower" if better else None, f"{what}.{_WHERE}",
            Kind.AMOUNT, f"{workload}: {label}", f"{workload[:5]} {label}"[:12],
            family=f"{workload} events" if better else "", rank=Rank.SHOWN if better else None,
            in_table=True, section=f"{workload}-events",
        )  # fmt: skip
    yield from fallbacks(workload)

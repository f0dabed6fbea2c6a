# SPDX-License-Identifier: GPL-2.0-only
"""Where the kernel's numbers and ours do not agree, the result names both."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

import jsonschema
import pytest

from page_alloc_bench.runner.kernel import memory_breakdown
from page_alloc_bench.runner.measuring import agreement
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.findlimit import measure
from page_alloc_bench.runner.measuring.user.counted import Counted
from page_alloc_bench.runner.result import document as result
from page_alloc_bench.runner.result.case import SUFFIX, Case, split_key
from page_alloc_bench.runner.result.document import Document
from page_alloc_bench.runner.workloads.available_memory import accounts

MIB = 1 << 20
BEFORE = memory_breakdown.Ledger(
    total=2000 * MIB,
    free=1800 * MIB,
    pcp=10 * MIB,
    user=100 * MIB,
    slab=40 * MIB,
    page_tables=MIB,
    kernel_stack=MIB,
    min_watermark=60 * MIB,
)
AT_KILL = dataclasses.replace(
    BEFORE,
    free=65 * MIB,
    pcp=5 * MIB,
    user=1850 * MIB,
    slab=20 * MIB,
    page_tables=5 * MIB,
)
GOT = 1830 * MIB


SCENE = agreement.Scene(
    cpus=2, nodes=1, threads=2, page_bytes=4096, huge_bytes=2 * MIB, piece_bytes=MIB
)


def make(scene: agreement.Scene = SCENE) -> tuple[accounts.Accounts, Document]:
    """Accounts with nothing but a document to write to."""
    document = Document({})
    return accounts.Accounts(document, document.warn, scene), document


def limit(at_kill: memory_breakdown.Ledger | None) -> measure.Limit:
    return measure.Limit(
        available_bytes=GOT,
        rss_bytes=GOT,
        oom_rss_bytes=GOT,
        duration_s=1.0,
        release_s=0.1,
        constraint="CONSTRAINT_NONE",
        oom_free_bytes=65 * MIB,
        oom_free_pcp_bytes=5 * MIB,
        mem_available_bytes=1700 * MIB,
        before=BEFORE,
        at_kill=at_kill,
        child_page_tables_bytes=4 * MIB,
        warnings=(),
    )


def total(document: Document, phase: str) -> int:
    """What the metrics of one iteration add up to, without what is only part of another."""
    return sum(
        document.get(f"{phase}_left_{name}_bytes", 0)[0]
        for name in ("free", "pcp", "user", "slab", "page_tables", "kernel_stack", "unnamed")
    )


def test_the_items_add_up_to_the_machine() -> None:
    made, document = make()
    made.iteration("idle", 0, 1, limit(AT_KILL), 0)
    assert total(document, "idle") + GOT == 2000 * MIB
    assert list(document.get("idle_reachable_bytes", 0)) == [GOT + 5 * MIB]
    assert list(document.get("idle_memavailable_bytes", 0)) == [1700 * MIB]
    assert document.run["warnings"] == []


def test_what_the_antagonist_held_is_not_unnamed() -> None:
    made, document = make()
    beside = dataclasses.replace(AT_KILL, user=AT_KILL.user - 100 * MIB)
    small = dataclasses.replace(limit(beside), available_bytes=GOT - 100 * MIB)
    made.iteration("antagonized", 0, 1, small, 100 * MIB)
    assert total(document, "antagonized") + small.available_bytes + 100 * MIB == 2000 * MIB
    assert document.run["warnings"] == []


def test_memory_that_goes_astray_is_told() -> None:
    made, document = make()
    astray = dataclasses.replace(AT_KILL, user=AT_KILL.user - 30 * MIB)
    made.iteration("idle", 0, 2, limit(astray), 0)
    (warning,) = document.run["warnings"]
    assert "84 MiB were in no counter of the kernel at the OOM kill, 48 MiB before it" in warning
    assert "iteration 2" in warning


def test_no_report_no_items() -> None:
    made, document = make()
    made.iteration("idle", 0, 1, limit(None), 0)
    made.iteration("antagonized", 0, 1, limit(AT_KILL), None)
    assert sorted(document.metrics) == [
        "antagonized_child_page_tables_bytes_order0",
        "antagonized_memavailable_bytes_order0",
        "idle_child_page_tables_bytes_order0",
        "idle_memavailable_bytes_order0",
    ]


@pytest.mark.parametrize(("kernel", "told"), [(5, False), (6, True), (4, True)])
def test_oom_kills_are_counted_by_both(kernel: int, told: bool) -> None:
    made, document = make()
    made.kills("idle", 0, kernel, 5)
    assert bool(document.run["warnings"]) is told
    if told:
        assert f"counts {kernel} OOM kills, and 5 were ours" in document.run["warnings"][0]


# The antagonist and the children: 160,000 pages by 10,000 blocks of order 4, and 50,000.
@pytest.mark.parametrize(
    ("allocated", "freed", "told"),
    [
        (210_000, 210_000, []),
        (275_000, 270_000, []),  # others may do a little
        (209_999, 210_000, ["209,999 pages allocated"]),
        (210_000, 208_000, []),  # see ALLOWED: the last child's, and a kernel that misses some
        (210_000, 207_000, ["207,000 pages freed"]),
        (290_000, 210_000, ["290,000 pages allocated"]),
    ],
)
def test_pages_are_counted_by_both(allocated: int, freed: int, told: list[str]) -> None:
    made, document = make()
    for pages in (10_000, 10_000, 10_000, 10_000, 10_000):
        document.append("antagonized_available_bytes", 4, pages * 4096)
    document.put("kernel_page_allocs", 4, [10_000])
    document.put("kernel_page_frees", 4, [10_000])
    made.pages(
        4,
        {
            "pgalloc_dma": 1_000,
            "pgalloc_dma32": allocated - 3_000,
            "pgalloc_normal": 2_000,
            "pgalloc_movable": 0,
            "pgfree": freed,
            "pgalloc_costly_other": 9_999_999,
        },
        5,
    )
    assert list(document.get("kernel_pages_allocated_by_vmstat", 4)) == [allocated]
    assert list(document.get("kernel_pages_freed_by_us", 4)) == [210_000]
    assert len(document.run["warnings"]) == len(told)
    for text, warning in zip(told, document.run["warnings"]):
        assert text in warning
        assert "210,000" in warning


@pytest.mark.parametrize(("captured", "told"), [(12_400, 0), (11_000, 1)])
def test_huge_pages_that_compaction_hands_over_are_missing_in_the_count(
    captured: int, told: int
) -> None:
    """For processes that fault in 200 huge pages, of which the kernel counts 176."""
    said: list[str] = []
    bench = SimpleNamespace(document=Document({}), warn=said.append)
    seen = Counted(allocated=90_000, faults=200, huge=200, captured=captured)
    seen.record(cast(Bench, bench), "faults", Case(9), 102_400, "allocated")
    assert len(said) == told
    # What is freed is counted all the same.
    Counted(freed=90_000, captured=captured).record(
        cast(Bench, bench), "exits", Case(0), 102_400, "freed"
    )
    assert "counts 90,000 pages freed" in said[-1]


def test_pages_of_an_iteration_that_was_cut_short_are_nobodys_to_count() -> None:
    made, document = make()
    document.append("antagonized_available_bytes", 4, 30_000 * 4096)
    document.put("kernel_page_allocs", 4, [10_000])
    document.put("kernel_page_frees", 4, [10_000])
    made.pages(4, {"pgalloc_normal": 900_000, "pgfree": 900_000}, 5)
    assert document.run["warnings"] == []
    assert not [name for name in document.metrics if name.startswith("kernel_pages_")]


def test_every_new_metric_is_in_the_schema() -> None:
    made, document = make()
    for _ in range(5):
        document.append("antagonized_available_bytes", 0, 0)
    made.iteration("idle", 0, 1, limit(AT_KILL), 0)
    made.iteration("antagonized", 0, 1, limit(AT_KILL), 0)
    document.put("kernel_page_allocs", 0, [1])
    document.put("kernel_page_frees", 0, [1])
    made.pages(0, {"pgalloc_normal": 1, "pgfree": 1}, 5)
    known = result.schema()["patternProperties"]
    assert {f"^{split_key(name)[0]}{SUFFIX}$" for name in document.metrics} <= set(known)
    entry = result.schema()["properties"]["run"]["properties"]["iterations"]["items"]["properties"]
    for book in (accounts.entries(BEFORE), None):
        jsonschema.validate(book, {"$defs": result.schema()["$defs"], **entry["memory_at_kill"]})

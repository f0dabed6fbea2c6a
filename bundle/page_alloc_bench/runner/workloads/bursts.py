# SPDX-License-Identifier: GPL-2.0-only
"""Allocate so many blocks, then free them all, again and again."""

from __future__ import annotations

from page_alloc_bench.runner.measuring import rate
from page_alloc_bench.runner.patterns.bursts import RELEASES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator


def blocks_of(depth: str, order: int, high: int) -> int:
    """Return a depth in blocks, 1 at least. high: pages that the list of a CPU holds at most."""
    if depth.isdigit():
        return int(depth)
    factor, _, divisor = depth.partition("h")
    pages = high * int(factor or 1) // int(divisor.lstrip("/") or 1)
    return max(pages >> order, 1)


def _variants(
    options: Namespace, order: int, high: int
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Yield each depth with each order of freeing."""
    for depth in options.depth:
        for free in options.free:
            chosen = {"depth": depth.replace("/", "-over-")}
            if free != RELEASES[0]:
                chosen["free"] = free
            yield (
                chosen,
                {
                    "depth": blocks_of(depth, order, high),
                    "release": RELEASES.index(free),
                },
            )


def _counted(_order: int, blocks: int, allocs: int) -> tuple[dict[str, int], int]:
    """Return whole bursts of BLOCKS."""
    return {"depth": blocks, "release": 0}, max(allocs // blocks, 1) * blocks


WORKLOAD = rate.workload(
    "bursts",
    isolates="refills and drains of a CPU's list, splitting and merging in the zone",
    variants=_variants,
    counted=_counted,
)

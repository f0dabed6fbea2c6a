# SPDX-License-Identifier: GPL-2.0-only
"""Allocate a block and free it at once, again and again."""

from __future__ import annotations

from page_alloc_bench.runner.measuring import rate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

# Blocks below it are on the lists of each CPU: PAGE_ALLOC_COSTLY_ORDER, include/linux/mmzone.h.
_FIRST_OF_ZONE = 4
_LARGEST = 10  # blocks of this order are split into those of a zone: MAX_PAGE_ORDER
_EVERY = 1000  # pairs in each state


def _variants(
    _options: Namespace, order: int, _high: int
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Yield the one variant: where the block's buddy matters, through all states of that."""
    yield {}, {"held": _held(order), "every": _EVERY}


def _held(order: int) -> int:
    return (1 << max(_LARGEST - order, 0)) - 1 if order >= _FIRST_OF_ZONE else 0


def _counted(order: int, _blocks: int, allocs: int) -> tuple[dict[str, int], int]:
    """Return one turn through all states of the buddy: so it is the same whatever ALLOCS is."""
    held = _held(order)
    every = max(allocs // (held + 1), 1)
    return {"held": held, "every": every}, every * (held + 1) + held


WORKLOAD = rate.workload(
    "pairs",
    isolates="the shortest path: a CPU's list at small orders, the zone's lock at large ones",
    variants=_variants,
    counted=_counted,
)

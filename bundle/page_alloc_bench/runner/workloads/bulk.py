# SPDX-License-Identifier: GPL-2.0-only
"""Allocate pages many at a time, and free them one by one."""

from __future__ import annotations

from page_alloc_bench.runner.measuring import rate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

_COUNTED = 64  # pages per call


def _variants(
    options: Namespace, _order: int, _high: int
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Yield each number of pages per call."""
    for pages in options.per_call:
        yield {"pages": str(pages)}, {"pages": pages}


def _counted(order: int, _blocks: int, allocs: int) -> tuple[dict[str, int], int] | None:
    """Return what is counted, see Counted: of a page, and so many that a call hardly shows."""
    return None if order else ({"pages": _COUNTED}, allocs)


WORKLOAD = rate.workload(
    "bulk",
    isolates="what alloc_pages_bulk saves per page, against one page per call; order 0 only",
    variants=_variants,
    pages_only=True,
    shortfall="short_calls",
    needs="Linux 5.14",
    counted=_counted,
)

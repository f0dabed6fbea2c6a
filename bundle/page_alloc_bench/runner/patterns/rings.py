# SPDX-License-Identifier: GPL-2.0-only
"""Allocate blocks on one CPU and free them on another. kmod/patterns/rings.c."""

from __future__ import annotations

from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from page_alloc_bench.runner.pattern import Parameters

_PAGES, _LEAST_BLOCKS = 512, 16  # on their way in a ring


def parameters_of(order: int) -> dict[str, int]:
    """Return the parameters at an order."""
    return {"depth": max(_PAGES >> order, _LEAST_BLOCKS), "fake": 0}


def _blocks(parameters: Parameters) -> int:
    return parameters["depth"]


PATTERN = Pattern(name="rings", title="rings", options=(), blocks=_blocks)

# SPDX-License-Identifier: GPL-2.0-only
"""Allocate a block and free it at once, again and again. kmod/patterns/pairs.c."""

from __future__ import annotations

from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from page_alloc_bench.runner.pattern import Parameters


def _blocks(parameters: Parameters) -> int:
    return parameters["held"] + 1


PATTERN = Pattern(name="pairs", title="pairs", options=(), blocks=_blocks)

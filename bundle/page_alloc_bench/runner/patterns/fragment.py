# SPDX-License-Identifier: GPL-2.0-only
"""Take large blocks, and keep a few pages of each. kmod/patterns/fragment.c."""

from __future__ import annotations

from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from page_alloc_bench.runner.pattern import Parameters

MOST = 1 << 25  # PAB_MAX_BLOCKS in kmod/page_alloc_bench.h


def _blocks(parameters: Parameters) -> int:
    return (parameters["blocks"] << parameters["order"]) // parameters["every"] * parameters["keep"]


PATTERN = Pattern(name="fragment", title="fragment", options=(), blocks=_blocks)

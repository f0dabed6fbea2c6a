# SPDX-License-Identifier: GPL-2.0-only
"""Ask for blocks in bursts, and do without those that are not to be had. kmod/patterns/atomic.c."""

from __future__ import annotations

from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from page_alloc_bench.runner.pattern import Parameters

MOST = 1 << 25  # PAB_MAX_BLOCKS in kmod/page_alloc_bench.h


def _blocks(parameters: Parameters) -> int:
    return parameters["blocks"]


PATTERN = Pattern(name="atomic", title="atomic", options=(), blocks=_blocks)

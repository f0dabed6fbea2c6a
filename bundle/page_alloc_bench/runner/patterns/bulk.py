# SPDX-License-Identifier: GPL-2.0-only
"""Allocate pages many at a time, and free them one by one. kmod/patterns/bulk.c."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Numbers
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from page_alloc_bench.runner.pattern import Parameters

_MOST = 4096  # BULK_LARGEST in kmod/patterns/bulk.c


def _blocks(parameters: Parameters) -> int:
    return parameters["pages"]


PATTERN = Pattern(
    name="bulk",
    title="bulk",
    options=(
        Option(
            "per_call",
            Numbers(_MOST),
            [1, 16, 64, 512],
            "pages that a call of alloc_pages_bulk asks for, one number after the other",
            metavar="LIST",
            kind="invalidating",
            quick=[1, 64],
        ),
    ),
    blocks=_blocks,
)

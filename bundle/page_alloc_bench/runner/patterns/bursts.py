# SPDX-License-Identifier: GPL-2.0-only
"""Allocate so many blocks, then free them all, again and again. kmod/patterns/bursts.c."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Depths, Words
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from page_alloc_bench.runner.pattern import Parameters

_MOST = 1 << 25  # PAB_MAX_BLOCKS in kmod/page_alloc_bench.h
# In this order in enum bursts_release.
RELEASES = ("fifo", "lifo", "random")


def _blocks(parameters: Parameters) -> int:
    return parameters["depth"]


PATTERN = Pattern(
    name="bursts",
    title="bursts",
    options=(
        Option(
            "depth",
            Depths(_MOST),
            ["16", "h/2", "2h", "16h"],
            "blocks of a burst: a number, or a part or multiple of h, the pages that the list of "
            "a CPU holds at most",
            metavar="LIST",
            kind="invalidating",
            quick=["16", "2h"],
        ),
        Option(
            "free",
            Words(*RELEASES),
            ["fifo"],
            "in which order a burst is freed: fifo, lifo, random",
            metavar="LIST",
            kind="invalidating",
        ),
    ),
    blocks=_blocks,
)

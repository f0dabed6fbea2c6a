# SPDX-License-Identifier: GPL-2.0-only
"""Hold blocks, as many as a random walk between two bounds has it, and allocate and free meanwhile.

kmod/patterns/antagonist.c.
"""

from __future__ import annotations

from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.pattern import Pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.pattern import Parameters

_MOST = 1 << 24  # half of PAB_MAX_BLOCKS in kmod/page_alloc_bench.h
_HELD = 1000


def _parameters(options: Namespace) -> dict[str, int]:
    return {"held": options.held, "spread": options.spread}


def _blocks(parameters: Parameters) -> int:
    return parameters["held"] + parameters["spread"]


def _check(options: Namespace) -> str | None:
    if options.spread is None:
        options.spread = min(options.held, _HELD)
    if options.spread > options.held:
        return f"--spread={options.spread} must not exceed --held={options.held}"
    return None


PATTERN = Pattern(
    name="antagonist",
    title="the antagonist",
    options=(
        Option(
            "held",
            Integer(1, _MOST),
            _HELD,
            "blocks that a worker holds on average",
            metavar="BLOCKS",
            unit="blocks",
            kind="invalidating",
        ),
        Option(
            "spread",
            Integer(1, _MOST),
            None,
            "how far that varies, 1 to --held: the targets are uniform in held-spread..held+spread",
            metavar="BLOCKS",
            unit="blocks",
            default_text=f"{_HELD}, or --held where that is less",
            kind="invalidating",
        ),
    ),
    parameters=_parameters,
    blocks=_blocks,
    check=_check,
)

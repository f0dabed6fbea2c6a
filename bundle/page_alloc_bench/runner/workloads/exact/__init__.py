# SPDX-License-Identifier: GPL-2.0-only
"""What an allocation and its free cost in instructions, in a guest that counts them."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.workload import Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase

NAME = "exact"
PHASE = "counted"
# On the command line of a guest that counts: a parameter of a module that no kernel has.
COUNTS = "pab.icount=0"
ALLOCS = 300_000


def _plan(options: Namespace) -> list[PlannedPhase]:
    from page_alloc_bench.runner.measuring.bench import PlannedPhase

    return [PlannedPhase(PHASE, order) for order in options.alloc_orders]


def _run(bench: Bench) -> None:
    from .measured import run

    run(bench)


WORKLOAD = Workload(
    name=NAME,
    title="exact",
    isolates="the length of the allocator's path in instructions",
    options=(
        Option(
            "exact_allocs",
            Integer(1000, 1 << 40),
            ALLOCS,
            "allocations per pattern and order",
            metavar="N",
            unit="blocks",
            kind="invalidating",
        ),
    ),
    patterns=(),
    plan=_plan,
    run=_run,
    seconds={PHASE: 5.0},
    checks=frozenset(),
    needs="a guest that counts, see `page-alloc-bench vm --exact`",
    in_all=False,
)

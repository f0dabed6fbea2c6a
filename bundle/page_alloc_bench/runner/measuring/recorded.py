# SPDX-License-Identifier: GPL-2.0-only
"""What every workload records in the same way of what the module's workers did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.stall import StalledError
from page_alloc_bench.runner.module.abi import CpuStats
from page_alloc_bench.runner.module.merged import Timed
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.histogram import trim


def offline(cpus: Sequence[int]) -> str:
    """Return that a CPU, and which, has gone offline since the run began, "" if none has."""
    gone = sorted(set(cpus) - set(procfs.online_cpus()))
    if not gone:
        return ""
    return f"CPU {gone[0]} has gone offline. Bring it back, or leave it out (--cpus)"


def stalled(
    bench: Bench, error: StalledError, phase: str, order: int, *, number: int | None, where: str
) -> RunnerError:
    """Put what the kernel says of a stall into the document; return what ends the run.

    number: of the iteration, if it is one; where: the same for the message.
    """
    bench.document.run["stall"] = {
        "phase": phase,
        "order": order,
        "iteration": number,
        "at_s": bench.elapsed_s(),
        **error.record,
    }
    return RunnerError(f"order {order}, {phase.replace('_', ' ')}{where}: {error}")


def clocks(stats: Sequence[CpuStats]) -> list[dict[str, int | None]]:
    """Return the clock of each CPU, as run.clocks has it."""
    return [
        {
            "cpu": each.cpu,
            "node": each.node,
            # A clock that ticks may stand still all the while that the module looks at it.
            "cost_ps": each.clock_cost_ps or None,
            "step_ns": each.clock_step_ns or None,
        }
        for each in stats
    ]


def warn_if_lost(warn: Callable[[str], object], where: str, allocs: int, frees: int) -> None:
    """Warn of blocks that the workers have not given back. where: of what, such as "order 4"."""
    if allocs != frees:
        warn(
            f"{where}: the workers allocated {allocs:,} blocks and freed {frees:,}: memory has "
            "been LOST until the next boot; please report this"
        )


def put_latencies(
    put: Callable[[str, Any, Sequence[int]], object],
    timed: metrics.Timed,
    case: Any,
    found: Timed,
    sample: Sequence[int],
) -> None:
    """Record the latencies of one kind of operation. put: the document's; sample: in ns."""
    put(timed.sample.name, case, sample)
    put_timed(put, timed, case, found)


def put_timed(
    put: Callable[[str, Any, Sequence[int]], object], timed: metrics.Timed, case: Any, found: Timed
) -> None:
    """Record the latencies of one kind of operation, of which no sample is kept."""
    put(timed.timed.name, case, [sum(found.timed)])
    put(timed.below_step.name, case, [found.below_step])
    put(timed.total.name, case, [found.total_ns])
    if any(found.timed):
        put(timed.largest.name, case, [found.max_ns])
    counts, bounds = trim(found.histogram)
    put(timed.histogram.name, case, counts)
    put(timed.edges.name, case, bounds)

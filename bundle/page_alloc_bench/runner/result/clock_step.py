# SPDX-License-Identifier: GPL-2.0-only
"""What the step of a clock hides: latencies of which is known only that they are shorter.

Between two readings of a clock whose step is s lies either nothing or s and more. An operation that
took less than s is read as nothing most of the time, and as s now and then: right on average, if
there are enough of them, but no quantile of such readings is one of the latencies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .histogram import bucket_floor

_SUFFIX = "_latencies_ns"
_LARGE_SHARE = 0.5  # of a latency that is the reading of its clock
_ENOUGH = 100  # readings of a step and more, for a mean that is right within 10 %


@dataclass(frozen=True)
class Hidden:
    """Timed operations of one kind that were below the step of the clock which timed them.

    operations: how many of the timed. step_ns: of the clock, the largest of all CPUs; None where no
    CPU's clock was seen to move while it was calibrated.
    """

    operations: int
    timed: int
    step_ns: int | None

    def hides_part(self, part: float) -> bool:
        """Return whether the latency that this part of the operations does not exceed is hidden."""
        return self.operations > 0 and part * self.timed <= self.operations

    def hides(self, latency_ns: float) -> bool:
        """Return whether of a latency that was read is known only that it is below the step."""
        return self.operations > 0 and latency_ns < max(self.step_ns or 0, 1)

    def text(self, latency_ns: float) -> str:
        """Return a latency in ns, or what it is known to be less than, such as "<4000000"."""
        if not self.hides(latency_ns):
            return f"{latency_ns:.12g}"
        return "<?" if self.step_ns is None else f"<{self.step_ns}"

    def hides_mean(self, readings_ns: Sequence[int]) -> bool:
        """Return whether the mean of these readings tells nothing, there being so few steps."""
        if not self.operations:
            return False
        return sum(1 for reading in readings_ns if not self.hides(reading)) < _ENOUGH


def below_step(histogram: Sequence[int], step_ns: int) -> int:
    """Return how many operations of a CPU's histogram are below its clock's step; 0: unknown."""
    count = 0
    for index, operations in enumerate(histogram[:-1]):  # the last bucket has no upper end
        if bucket_floor(index + 1) > max(step_ns, 1):
            break
        count += operations
    return count


def metric(latencies: str) -> str:
    """Return the name of the count for a metric of latencies, such as NAME_latencies_ns."""
    return f"{latencies[: -len(_SUFFIX)]}s_below_clock_step"


def of(
    values: Callable[[str, int], Sequence[int]], run: dict[str, Any], latencies: str, order: int
) -> Hidden | None:
    """Return what is hidden in a metric of a result; None if it is none of latencies.

    values: returns a metric's values, none if it was not measured. Results of the first versions
    do not have the count: nothing is known to be hidden in them.
    """
    if not latencies.endswith(_SUFFIX):
        return None
    count = values(metric(latencies), order)
    timed = values(f"{latencies[: -len(_SUFFIX)]}s_timed", order)
    steps = [clock.get("step_ns") for clock in run.get("clocks", ())]
    known = [step for step in steps if step is not None]
    return Hidden(
        operations=int(count[0]) if len(count) else 0,
        timed=int(timed[0]) if len(timed) else 0,
        step_ns=max(known, default=None),
    )


def clock_costs_ns(run: dict[str, Any]) -> list[float]:
    """Return what the module found that a reading of the clock costs, of each CPU that it knows."""
    clocks = run.get("clocks", ())
    return [clock["cost_ps"] / 1000 for clock in clocks if clock["cost_ps"] is not None]


def costly_clock(
    get: Callable[[str, int], Sequence[int]], run: dict[str, Any], names: Sequence[str], order: int
) -> str | None:
    """Return what to say of a clock whose reading is half of a typical latency or more; None: less.

    names: of the latencies to judge it by, as *_latencies_ns. By what it costs in the kernel: the
    module's calibration.
    """
    costs = clock_costs_ns(run)
    medians = [
        sorted(sample)[len(sample) // 2]
        for name in names
        if (sample := get(name, order)) and not _median_hidden(get, run, name, order)
    ]
    if not costs or not medians or max(costs) < _LARGE_SHARE * min(medians):
        return None
    cost, median = max(costs), min(medians)
    return (
        f"order {order}: a clock read costs up to {cost:,.0f} ns, and half of the latencies that "
        f"contain one are {median:,} ns or less: much of each is the clock's; rates are not "
        "affected, and a faster clocksource would tell more"
    )


def _median_hidden(
    get: Callable[[str, int], Sequence[int]], run: dict[str, Any], name: str, order: int
) -> bool:
    hidden = of(get, run, name, order)
    return hidden is not None and hidden.hides_part(0.5)

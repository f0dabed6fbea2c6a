# SPDX-License-Identifier: GPL-2.0-only
"""What the step of a clock hides: latencies of which is known only that they are shorter.

Between two readings of a clock whose step is s lies either nothing or s and more. An operation that
took less than s is read as nothing most of the time, and as s now and then: right on average, if
there are enough of them, but no quantile of such readings is one of the latencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import quantile
from .case import Case, case_of
from .histogram import bucket_floor
from .metrics import Timed

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

    def hides_mean(self, readings: int) -> bool:
        """Return whether the mean of so many readings tells nothing, there being so few steps."""
        return self.operations > 0 and readings - self.operations < _ENOUGH


def below_step(histogram: Sequence[int], step_ns: int) -> int:
    """Return how many operations of a CPU's histogram are below its clock's step; 0: unknown."""
    count = 0
    for index, operations in enumerate(histogram[:-1]):  # the last bucket has no upper end
        if bucket_floor(index + 1) > max(step_ns, 1):
            break
        count += operations
    return count


def of(get: quantile.Get, run: dict[str, Any], timed: Timed, case: Case | int) -> Hidden:
    """Return what is hidden of a timed operation of a result.

    get: returns a metric's values, none if it was not measured. Results of the first versions do
    not have the count: nothing is known to be hidden in them.
    """
    count, all_timed = get(timed.below_step.name, case), get(timed.timed.name, case)
    steps = [clock.get("step_ns") for clock in run.get("clocks", ())]
    known = [step for step in steps if step is not None]
    return Hidden(
        operations=int(count[0]) if len(count) else 0,
        timed=int(all_timed[0]) if len(all_timed) else 0,
        step_ns=max(known, default=None),
    )


def clock_costs_ns(run: dict[str, Any]) -> list[float]:
    """Return what the module found that a reading of the clock costs, of each CPU that it knows."""
    clocks = run.get("clocks", ())
    return [clock["cost_ps"] / 1000 for clock in clocks if clock["cost_ps"] is not None]


def costly_clock(
    get: quantile.Get, run: dict[str, Any], judged: Sequence[Timed], case: Case | int
) -> str | None:
    """Return what to say of a clock whose reading is half of a typical latency or more; None: less.

    judged: the operations whose medians it is held against. By what it costs in the kernel: the
    module's calibration.
    """
    costs = clock_costs_ns(run)
    medians = [
        found.quantile(0.5)
        for timed in judged
        if (found := quantile.timed(get, timed, case)).size
        and not of(get, run, timed, case).hides_part(0.5)
    ]
    if not costs or not medians or max(costs) < _LARGE_SHARE * min(medians):
        return None
    cost, median = max(costs), min(medians)
    return (
        f"{case_of(case)}: a clock read costs up to {cost:,.0f} ns, and half of the latencies that "
        f"contain one are {median:,.0f} ns or less: much of each is the clock's; rates are not "
        "affected, and a faster clocksource would tell more"
    )

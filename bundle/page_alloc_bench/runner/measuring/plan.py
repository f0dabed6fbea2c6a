# SPDX-License-Identifier: GPL-2.0-only
"""Which phases a run has, in the order of time: known before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Phases of an order in which the child of findlimit fills the memory, with the option that says how
# often each.
MEASURED = {"idle": "iterations", "antagonized": "iterations", "atomic": "fills"}
_WITH_ANTAGONIST = ("steady_wait", "antagonized", "stop", "results")


class PlannedPhase(NamedTuple):
    """A phase of a run: its name in run.phases, and the order of the blocks."""

    name: str
    order: int


def phases(orders: Sequence[int]) -> list[PlannedPhase]:
    """Return the phases of a run that measures ORDERS and is not cut short.

    All idle phases come before the first antagonist: from 6.7 on it leaves more free memory on the
    lists of the CPUs, which adapt to it (90b41691b988, "mm: add framework for PCP high
    auto-tuning"), than a machine has that was idle. The module is configured before, since what it
    allocates for itself, the same for each order, is in no phase to be missing from.
    """
    first, *later = orders
    return [
        PlannedPhase("configure", first),
        *(PlannedPhase("idle", order) for order in orders),
        *(PlannedPhase(name, first) for name in _WITH_ANTAGONIST),
        *(
            PlannedPhase(name, order)
            for order in later
            for name in ("configure", *_WITH_ANTAGONIST)
        ),
    ]

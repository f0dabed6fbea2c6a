# SPDX-License-Identifier: GPL-2.0-only
"""What workloads measure with: findlimit, the kernel's own counters, plan and estimate."""

from __future__ import annotations

from typing import NamedTuple


class PlannedPhase(NamedTuple):
    """A phase of a run, known before it: its name in run.phases, and the order of the blocks."""

    name: str
    order: int

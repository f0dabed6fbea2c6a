# SPDX-License-Identifier: GPL-2.0-only
"""The pictures of a report: what each says, and how it is drawn.

One run is drawn as it is. Of several, the median is drawn with the middle 80 %, so that twenty
runs are as easily read as two; each of them is a marker in the picture of their order in time.
"""

from __future__ import annotations

from collections.abc import Sequence

from page_alloc_bench.analysis.report.sides import Side
from page_alloc_bench.runner.result.case import Case

from .available import available
from .by_function import by_function
from .by_type import by_type
from .changes import changes
from .course import course
from .distributions import latencies
from .in_time import in_time
from .kernel import free_memory, vmstat
from .picture import Picture
from .scaling import scaling
from .throughput import throughput

__all__ = [
    "Picture",
    "available",
    "by_type",
    "changes",
    "course",
    "every",
    "free_memory",
    "in_time",
    "latencies",
    "scaling",
    "throughput",
    "vmstat",
]


def every(sides: Sequence[Side], cases: Sequence[Case]) -> list[Picture]:
    """Return all pictures of a report, case by case."""
    parts = (
        by_function, in_time, scaling, latencies, course, available, throughput, vmstat, by_type,
        free_memory,
    )  # fmt: skip
    return [picture for case in cases for part in parts for picture in part(sides, case)]

# SPDX-License-Identifier: GPL-2.0-only
"""The pictures of a report: what each says, and how it is drawn.

One run is drawn as it is. Of several, the median is drawn with the range from the least to the
most, so that twenty runs are as easily read as two.
"""

from __future__ import annotations

from collections.abc import Sequence

from page_alloc_bench.analysis.report.sides import Side
from page_alloc_bench.runner.result.case import Case

from .available import available
from .by_function import by_function
from .distributions import latencies
from .kernel import free_memory, vmstat
from .picture import Picture
from .throughput import throughput

__all__ = ["Picture", "available", "every", "free_memory", "latencies", "throughput", "vmstat"]


def every(sides: Sequence[Side], cases: Sequence[Case]) -> list[Picture]:
    """Return all pictures of a report, case by case."""
    parts = (by_function, latencies, available, throughput, free_memory, vmstat)
    return [picture for case in cases for part in parts for picture in part(sides, case)]

# SPDX-License-Identifier: GPL-2.0-only
"""How long a row of the matrix takes, as far as can be told before."""

from __future__ import annotations

import time

from page_alloc_bench.targets import build_root, kernels, root
from page_alloc_bench.targets.kernels import Kernel

# Measured on a 2-core machine with nothing else to do; what is in the cache takes no time.
_RUN_S = 60.0
_FETCH_S = 30.0
_FROM_SOURCE_S = 420.0
_ROOT_S = 60.0
_BUILD_ROOT_S = 90.0
_OTHER_S = 300.0


class Clock:
    """The time that is left of a budget in seconds, None for as long as it takes."""

    def __init__(self, budget: float | None):
        self._end = None if budget is None else time.monotonic() + budget
        self._expected = self._measured = 0.0

    def expected(self, kernel: Kernel | None) -> float:
        """Return the seconds for the row KERNEL: what its parts took once, by today's pace.

        None is a test of another kind, which may build a kernel itself.
        """
        seconds = _OTHER_S if kernel is None else _row_seconds(kernel)
        # A machine that was slower than it should so far will not become faster.
        pace = self._measured / self._expected if self._expected else 1.0
        return seconds * max(1.0, pace)

    def learn(self, expected: float, measured: float) -> None:
        """Take into account that what was EXPECTED has been MEASURED."""
        self._expected += expected
        self._measured += measured

    def fits(self, expected: float) -> bool:
        """Return whether what takes EXPECTED seconds would be done in time."""
        return self._end is None or time.monotonic() + expected <= self._end


def _row_seconds(kernel: Kernel) -> float:
    seconds = _RUN_S
    if not kernels.cached(kernel):
        seconds += _FROM_SOURCE_S if kernel.config else _FETCH_S
    if kernel.root and not root.cached(kernel.root):
        seconds += _ROOT_S
    if kernel.build_root and not build_root.cached():
        seconds += _BUILD_ROOT_S
    return seconds

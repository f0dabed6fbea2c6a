# SPDX-License-Identifier: GPL-2.0-only
"""How long a row of the matrix takes, as far as can be told before."""

from __future__ import annotations

from page_alloc_bench.targets import build_root, kernels, root
from page_alloc_bench.targets.kernels import Kernel

# Measured on a 2-core machine with nothing else to do; what is in the cache takes no time.
_RUN_S = 60.0
_FETCH_S = 30.0
_FROM_SOURCE_S = 420.0
_ROOT_S = 60.0
_BUILD_ROOT_S = 90.0
_OTHER_S = 300.0


def row_seconds(kernel: Kernel | None) -> float:
    """Return the seconds for the row KERNEL: what its parts took once.

    None is a test of another kind, which may build a kernel itself.
    """
    if kernel is None:
        return _OTHER_S
    seconds = _RUN_S
    if not kernels.cached(kernel):
        seconds += _FROM_SOURCE_S if kernel.config else _FETCH_S
    if kernel.root and not root.cached(kernel.root):
        seconds += _ROOT_S
    if kernel.build_root and not build_root.cached():
        seconds += _BUILD_ROOT_S
    return seconds

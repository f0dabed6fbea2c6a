# SPDX-License-Identifier: GPL-2.0-only
"""How fast this host gives memory to a process, for estimates."""

from __future__ import annotations

import functools
import time

from page_alloc_bench.runner.kernel import procfs

from . import populated

_LOOK_BYTES = 16 << 20
_LOOKS = 3  # the first may get pages that nobody has touched since the boot


@functools.cache
def seconds_per_gib() -> float:
    """Return how long it takes to get a GiB in base pages on one CPU, by a look at 16 MiB.

    0 on a kernel without MADV_POPULATE_WRITE, where nothing is measured for which this is asked.
    """
    own = populated.Memory(_LOOK_BYTES, procfs.page_size(), huge=False)
    shortest = float("inf")
    for _ in range(_LOOKS):
        start = own.map()
        try:
            began = time.monotonic()
            own.populate(start, _LOOK_BYTES)
            shortest = min(shortest, time.monotonic() - began)
        except OSError:
            return 0.0
        finally:
            own.unmap()
    return shortest / _LOOK_BYTES * (1 << 30)

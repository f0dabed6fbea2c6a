# SPDX-License-Identifier: GPL-2.0-only
"""The histogram of latencies: which latencies in ns each of its buckets counts.

Mirrors what kmod/page_alloc_bench.h says of PAB_HIST_BUCKETS; a test holds them together.
"""

from __future__ import annotations

HIST_SUB_BITS = 4
HIST_MAX_BITS = 40
HIST_BUCKETS = (HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS


def bucket_floor(index: int) -> int:
    """Return the smallest latency in ns that bucket index counts; that of HIST_BUCKETS ends it."""
    octave, position = divmod(index, 1 << HIST_SUB_BITS)
    if octave == 0:
        return position
    return (1 << HIST_SUB_BITS | position) << (octave - 1)

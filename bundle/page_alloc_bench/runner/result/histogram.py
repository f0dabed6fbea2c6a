# SPDX-License-Identifier: GPL-2.0-only
"""The histogram of latencies: which latencies in ns each of its buckets counts.

Mirrors what kmod/page_alloc_bench.h says of PAB_HIST_BUCKETS; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence

HIST_SUB_BITS = 4
HIST_MAX_BITS = 40
HIST_BUCKETS = (HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS


def bucket_floor(index: int) -> int:
    """Return the smallest latency in ns that bucket index counts; that of HIST_BUCKETS ends it."""
    octave, position = divmod(index, 1 << HIST_SUB_BITS)
    if octave == 0:
        return position
    return (1 << HIST_SUB_BITS | position) << (octave - 1)


def trim(counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the counts without the empty buckets at both ends, and the edges of those left.

    Bucket i counts latencies from edges[i] up to, but not including, edges[i + 1], in ns; the
    module's last bucket has no upper end, and its edge stands for infinity. Both are empty when
    nothing was counted.
    """
    used = [index for index, count in enumerate(counts) if count]
    if not used:
        return [], []
    first, end = used[0], used[-1] + 1
    return list(counts[first:end]), [bucket_floor(index) for index in range(first, end + 1)]

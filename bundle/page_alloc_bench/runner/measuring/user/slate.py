# SPDX-License-Identifier: GPL-2.0-only
"""What a workload's processes and their parent share: counters and latencies of each worker."""

from __future__ import annotations

import mmap
import random
from array import array

from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, HIST_SUB_BITS

_LINE = 8  # words, a cache line
_STOP, _REASON = 0, 1
_TEXT = 128  # words of the reason
# Of each worker: what it is at, and what it has done.
READY, PAGES, INSIDE_NS, OUTSIDE_NS = range(4)
_COUNTS = 3  # words before the histogram: timed, total, longest


class Slate:
    """Shared memory, to be made before the fork. Every worker writes its own lines only.

    workers: threads or processes. kinds: of operations that each times. capacity: latencies that
    each keeps of a kind.
    """

    def __init__(self, workers: int, kinds: int, capacity: int) -> None:
        self.workers = workers
        self.capacity = capacity
        self._kind = -(-(_COUNTS + HIST_BUCKETS + capacity) // _LINE) * _LINE
        self._worker = _LINE + kinds * self._kind
        size = (_LINE + _TEXT + workers * self._worker) * 8
        self._map = mmap.mmap(-1, size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self._map[:] = bytes(size)  # present from the beginning
        self.words = memoryview(self._map).cast("Q")

    def close(self) -> None:
        """Give the memory back."""
        self.words.release()
        self._map.close()

    def stop(self) -> None:
        """Ask the workers to end."""
        self.words[_STOP] = 1

    @property
    def stopping(self) -> bool:
        """Return whether the workers have been asked to end."""
        return self.words[_STOP] != 0

    def fail(self, reason: str) -> None:
        """Note why a process ends by itself."""
        text = reason.encode(errors="replace")[: _TEXT * 8]
        self._map[_LINE * 8 : _LINE * 8 + len(text)] = text
        self.words[_REASON] = len(text)

    @property
    def reason(self) -> str:
        """Return why a process ended by itself, "" if none said anything."""
        return self._map[_LINE * 8 : _LINE * 8 + self.words[_REASON]].decode(errors="replace")

    def place(self, worker: int, field: int) -> int:
        """Return the index in words of one of READY, PAGES, INSIDE_NS, OUTSIDE_NS."""
        return _LINE + _TEXT + worker * self._worker + field

    def each(self, field: int) -> list[int]:
        """Return the value of a field of each worker."""
        return [self.words[self.place(worker, field)] for worker in range(self.workers)]

    def timer(self, worker: int, kind: int, seed: int) -> Timer:
        """Return what a worker notes its latencies with."""
        return Timer(self.words, self._first(worker, kind), self.capacity, f"{seed} {worker}")

    def latency(self, worker: int, kind: int, *, sample: bool = True) -> Latency:
        """Return what a worker has timed of a kind."""
        first = self._first(worker, kind)
        timed, total, longest = self.words[first : first + _COUNTS]
        histogram = first + _COUNTS
        kept = histogram + HIST_BUCKETS
        size = min(timed, self.capacity) if sample else 0
        return Latency(
            timed,
            total,
            longest,
            array("Q", self.words[histogram:kept]),
            array("Q", self.words[kept : kept + size]),
        )

    def _first(self, worker: int, kind: int) -> int:
        return self.place(worker, _LINE) + kind * self._kind


class Timer:
    """Counts latencies as the module does, and keeps a uniform sample of them (a reservoir)."""

    def __init__(self, words: memoryview, first: int, capacity: int, seed: str) -> None:
        self._words = words
        self._first = first
        self._capacity = capacity
        self._random = random.Random(seed).random  # noqa: S311

    def note(self, ns: int) -> None:
        """Add a latency."""
        words, first = self._words, self._first
        timed = words[first] + 1
        words[first] = timed
        words[first + 1] += ns
        words[first + 2] = max(words[first + 2], ns)
        words[first + _COUNTS + bucket(ns)] += 1
        place = timed - 1 if timed <= self._capacity else int(self._random() * timed)
        if place < self._capacity:
            words[first + _COUNTS + HIST_BUCKETS + place] = ns


def bucket(ns: int) -> int:
    """Return which bucket of the histogram counts a latency; see result/histogram.py."""
    octave = ns.bit_length() - HIST_SUB_BITS
    if octave <= 0:
        return ns
    index = (octave << HIST_SUB_BITS) + ((ns >> (octave - 1)) & ((1 << HIST_SUB_BITS) - 1))
    return min(index, HIST_BUCKETS - 1)

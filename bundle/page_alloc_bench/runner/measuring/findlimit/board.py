# SPDX-License-Identifier: GPL-2.0-only
"""What findlimit's child and its parent share."""

from __future__ import annotations

import mmap
import threading
import time


class Board:
    """A page or more that parent and child share: what every thread has, and why the child ended.

    It must be made before the fork. Every thread writes its own cache line only, and aligned words,
    so that nobody waits for anybody. Layout, in 64-bit words: started_ns, baseline, the length of
    the reason, ended_ns; then _TEXT_BYTES of the reason; then for each thread a line of (its
    thread id, its bytes, whether it is displaced).
    """

    _LINE = 64 // 8
    _TEXT_BYTES = 1024
    _FIRST = _LINE + _TEXT_BYTES // 8

    def __init__(self, threads: int) -> None:
        words = self._FIRST + threads * self._LINE
        self.size_bytes = words * 8
        self._map = mmap.mmap(-1, self.size_bytes, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self._map[:] = bytes(self.size_bytes)  # Charged to the parent, present from the beginning.
        self._words = memoryview(self._map).cast("Q")
        self._threads = range(self._FIRST, words, self._LINE)

    def start(self, baseline_bytes: int) -> None:
        """Note the moment (CLOCK_MONOTONIC), and what of its own the child has before it begins."""
        self._words[1] = baseline_bytes
        self._words[0] = time.monotonic_ns()

    def finish(self) -> None:
        """Note the moment when the child had all that it was to have."""
        self._words[3] = time.monotonic_ns()

    def fail(self, reason: str) -> None:
        """Note why the child ends by itself."""
        text = reason.encode(errors="replace")[: self._TEXT_BYTES]
        self._map[self._LINE * 8 : self._LINE * 8 + len(text)] = text
        self._words[2] = len(text)

    def enlist(self, thread: int) -> None:
        """Note the kernel's id of the calling thread: the OOM killer may name it."""
        self._words[self._threads[thread]] = threading.get_native_id()

    def displace(self, thread: int) -> None:
        """Note that a thread cannot be on its CPU."""
        self._words[self._threads[thread] + 2] = 1

    def counter(self, thread: int) -> tuple[memoryview, int]:
        """Return words and the index in them where a thread writes how many bytes it has."""
        return self._words, self._threads[thread] + 1

    @property
    def started_ns(self) -> int:
        """Return when the first fault was about to happen, 0 if it has not."""
        return self._words[0]

    @property
    def ended_ns(self) -> int:
        """Return when the child had all that it was to have, 0 if it has not."""
        return self._words[3]

    @property
    def baseline_bytes(self) -> int:
        """Return the child's resident set before its first fault, without file pages."""
        return self._words[1]

    @property
    def reason(self) -> str:
        """Return why the child ended by itself, "" if it said nothing."""
        start = self._LINE * 8
        return self._map[start : start + self._words[2]].decode(errors="replace")

    @property
    def populated_bytes(self) -> int:
        """Return what all threads together have."""
        return sum(self._words[index + 1] for index in self._threads)

    @property
    def displaced(self) -> list[int]:
        """Return which threads could not be on their CPUs."""
        return [thread for thread, index in enumerate(self._threads) if self._words[index + 2]]

    @property
    def thread_ids(self) -> set[int]:
        """Return the kernel's ids of the threads."""
        return {self._words[index] for index in self._threads} - {0}

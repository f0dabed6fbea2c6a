# SPDX-License-Identifier: GPL-2.0-only
"""How many huge pages there are in memory that others keep moving, and what each costs."""

from __future__ import annotations

import functools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import (
    cpu_lists,
    fragmented,
    huge_pages,
    memory,
    perf_events,
    procfs,
    watermarks,
)
from page_alloc_bench.runner.measuring import counting, recorded, user
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.latencies import Latencies
from page_alloc_bench.runner.measuring.user import huge, populated, slate
from page_alloc_bench.runner.measuring.user.crew import Crew
from page_alloc_bench.runner.result import units
from page_alloc_bench.runner.result.case import Case

from . import NAME, SETTLE_S

_CHURN_PAGES = 16  # that are given back, and had again, at once
_SCATTERED = 6  # of --churn-percent of the memory, one part in so many is free, here and there
_ROOM = 2  # of that, one part in so many is asked for
_SPARE = 4  # of what is scattered and not reserve, one part in so many may be missing
_LOOK_S = 0.1


@dataclass(frozen=True)
class _Plan:
    """size: that each churning process fills, in bytes, and scattered: what it gives back of it.

    pages: huge pages that are asked for in a second. whole: those that the churn may leave whole.
    reserve: of the memory, what the kernel keeps, in bytes. held_bytes: what all processes have.
    """

    case: Case
    cpus: tuple[int, ...]
    size: int
    scattered: int
    pages: int
    whole: int
    reserve: int
    held_bytes: int


@dataclass
class _Sums:
    """What has been measured. had, asked: huge pages. bursts_ns: of a second's huge pages."""

    latencies: Mapping[str, Latencies]
    had: int = 0
    asked: int = 0
    churned: int = 0
    bursts_ns: list[int] = field(default_factory=list)
    delta: dict[str, int] = field(default_factory=dict)


class HugeAlloc:
    """One run of the workload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._options = bench.options
        self._told = user.Told(bench, NAME)
        self._order = huge_pages.huge_order()

    def run(self) -> None:
        """Measure. Raises RunnerError, or a Stop with what is whole in the document."""
        case = Case(self._order)
        with self._bench.phase(NAME, self._order):
            if not self._told.left_out(case, 0):
                self._measure(self._plan(case))
        self._bench.case_ended()
        self._told.ended()

    def _plan(self, case: Case) -> _Plan:
        """Plan for the memory that is available now. Raises RunnerError if that is too little."""
        cpus, block = tuple(self._bench.cpus), procfs.page_size() << case.order
        available = procfs.meminfo().get("MemAvailable", 0)
        page, kept = procfs.page_size(), watermarks.read()
        # So much stays free besides: what the kernel keeps, or may come to keep while this goes on,
        # and what lies on the lists of CPUs. In pieces too: whole, it would be had by who asks.
        reserve = max(kept.high, kept.least + kept.boost + cpu_lists.most_pages()) * page
        churned = min(
            available * self._options.churn_percent // 100,
            available + kept.high * page - 2 * reserve,
        )
        scattered = churned // _SCATTERED
        pages = min(scattered // _ROOM // block, self._options.huge_per_second)
        size = (churned + reserve) // len(cpus) // block * block
        if not pages or size <= (scattered + reserve) // len(cpus):
            raise RunnerError(
                f"{NAME}: {units.whole_mib(available)} are available: too little for "
                f"--churn-percent {self._options.churn_percent}. Free memory, or use a larger host"
            )
        return _Plan(
            case, cpus,
            size=size,
            scattered=(scattered + reserve) // len(cpus),
            pages=pages,
            whole=(available - churned + reserve) // block,
            reserve=reserve,
            held_bytes=available - scattered + pages * block,
        )  # fmt: skip

    def _measure(self, plan: _Plan) -> None:
        sums = _Sums(huge.latencies(self._bench, 1))
        with self._churn(plan) as churned, self._ballast(plan) as held, self._fallbacks(plan):
            parameters = {
                "churn_bytes": plan.size, "scattered_bytes": plan.scattered,
                "huge_per_second": plan.pages, "held_huge_pages": held,
            }  # fmt: skip
            self._told.measure(
                plan, parameters, self._options.repeat,
                lambda where: self._repetition(plan, sums, churned, where),
                lambda: self._record(plan, sums),
            )  # fmt: skip

    @contextmanager
    def _churn(self, plan: _Plan) -> Iterator[Callable[[], int]]:
        """Have processes hold memory that moves; yields what tells how many pages have moved."""
        workers = range(len(plan.cpus))
        board = slate.Slate(len(plan.cpus), 0, 0)
        crew = Crew(
            self._bench, f"{NAME}, churn", board, [[each] for each in workers],
            lambda board, share: _move(plan, board, share[0], self._options.seed),
        )  # fmt: skip
        with crew:
            crew.await_ready()
            crew.wait(min(SETTLE_S, self._options.duration_s), ", churn")
            yield lambda: sum(board.each(slate.PAGES))
        board.close()

    @contextmanager
    def _ballast(self, plan: _Plan) -> Iterator[int]:
        """Have a process hold what the churn leaves whole; yields how many huge pages it holds.

        What is asked for then comes from the rest. The kernel takes small pieces first, so without
        it the same blocks would stay whole, and be asked for, all the time.
        """
        block = procfs.page_size() << plan.case.order
        whole = fragmented.free_blocks(procfs.buddyinfo(), self._order)
        rest = len(plan.cpus) * plan.scattered - plan.reserve
        left = plan.reserve + rest - rest // _SPARE
        blocks = max(min(whole, plan.whole, (memory.free_bytes() - left) // block), 0)
        board = slate.Slate(1, len(huge.KINDS), 0)
        crew = Crew(
            self._bench, f"{NAME}, ballast", board, [[0]],
            lambda board, _share: _hold(plan, board, blocks),
        )  # fmt: skip
        with crew:
            crew.await_ready()
            yield board.each(slate.PAGES)[0]
        board.close()

    @contextmanager
    def _fallbacks(self, plan: _Plan) -> Iterator[None]:
        """Count fallbacks to other migrate types meanwhile, if that is asked for."""
        if not self._options.counters:
            yield
            return
        with perf_events.Counters(counting.of_fallbacks(), procfs.online_cpus()) as counters:
            try:
                yield
            finally:
                for name, value in counting.fallbacks(counters.read()).items():
                    self._bench.document.put(f"{NAME}_{name}", plan.case, [value])
            if counters.missing:
                self._bench.warn(f"{NAME}: {counters.absent()}")

    def _repetition(self, plan: _Plan, sums: _Sums, churned: Callable[[], int], where: str) -> None:
        board = slate.Slate(1, len(huge.KINDS), huge.capacity(self._bench, 1))
        seconds, seed = round(max(self._options.duration_s, 1)), self._options.seed
        before, moved, began = procfs.vmstat(), churned(), time.monotonic()
        crew = Crew(
            self._bench, f"{NAME}{where}", board, [[0]],
            lambda board, _share: _ask(plan, board, seconds, seed),
        )  # fmt: skip
        with crew:
            end = began + 20 * seconds + 60  # where the kernel takes longer than the pace
            crew.wait(
                end - time.monotonic(), where, lambda: bool(board.each(slate.READY)[0]),
                poll_s=_LOOK_S,
            )  # fmt: skip
            if not board.each(slate.READY)[0]:
                raise RunnerError(f"{NAME}{where}: huge pages take too long; give a lower rate")
            gone = recorded.offline(plan.cpus)
            if gone:
                raise RunnerError(f"{NAME}{where}: {gone}")
        for name, count in procfs.difference(before, procfs.vmstat()).items():
            sums.delta[name] = sums.delta.get(name, 0) + count
        sums.churned += churned() - moved
        sums.had += board.each(slate.PAGES)[0]
        sums.asked += seconds * plan.pages
        sums.bursts_ns.append(board.each(slate.INSIDE_NS)[0] // seconds)
        huge.add(sums.latencies, board, [0])
        board.close()

    def _record(self, plan: _Plan, sums: _Sums) -> None:
        if not sums.bursts_ns:
            return
        put = functools.partial(self._put_one, plan)
        put("huge_pages", sums.had)
        put("asked_pages", sums.asked)
        put("churned_pages", sums.churned)
        self._bench.document.put(f"{NAME}_burst_ns", plan.case, sums.bursts_ns)
        huge.put_costs(put, sums.delta)
        huge.put(self._bench, NAME, plan.case, sums.latencies)

    def _put_one(self, plan: _Plan, name: str, value: int) -> None:
        self._bench.document.put(f"{NAME}_{name}", plan.case, [value])


# In a process


def _move(plan: _Plan, board: slate.Slate, worker: int, seed: int) -> None:
    """Hold memory in base pages; give a few of them back at a time, and get others."""
    os.sched_setaffinity(0, {plan.cpus[worker]})
    page, block = procfs.page_size(), procfs.page_size() << plan.case.order
    own = populated.Memory(plan.size, block, huge=False)
    start, size, choose = own.map(), _CHURN_PAGES * page, random.Random(f"{seed} {worker}")  # noqa: S311
    pieces = list(range(start, start + plan.size, size))
    choose.shuffle(pieces)
    free = plan.scattered // size  # the first so many of them
    for address in range(start, start + plan.size, block):
        own.populate(address, block)
    for address in pieces[:free]:
        own.madvise(address, size, huge.MADV_DONTNEED)
    words, done, moved = board.words, board.place(worker, slate.PAGES), 0
    words[board.place(worker, slate.READY)] = 1
    while not board.stopping:
        out, into = choose.randrange(free, len(pieces)), choose.randrange(free)
        own.madvise(pieces[out], size, huge.MADV_DONTNEED)
        own.populate(pieces[into], size)
        pieces[out], pieces[into] = pieces[into], pieces[out]
        moved += _CHURN_PAGES
        words[done] = moved


def _hold(plan: _Plan, board: slate.Slate, blocks: int) -> None:
    """Hold so many huge pages, or as many as there are."""
    block = procfs.page_size() << plan.case.order
    asking = huge.Asking(board, 0, 0, max(blocks, 1) * block, plan.case.order)
    last = asking.start + blocks * block
    had = sum(asking.one(address) for address in range(asking.start, last, block))
    board.words[board.place(0, slate.PAGES)] = had
    board.words[board.place(0, slate.READY)] = 1
    while True:
        signal.pause()


def _ask(plan: _Plan, board: slate.Slate, seconds: int, seed: int) -> None:
    """Ask for so many huge pages at the beginning of each second, and give them back at its end."""
    block = procfs.page_size() << plan.case.order
    asking = huge.Asking(board, 0, seed, plan.pages * block, plan.case.order)
    had = inside_ns = 0
    due = time.monotonic()
    for _ in range(seconds):
        began = time.monotonic_ns()
        for address in range(asking.start, asking.start + plan.pages * block, block):
            had += asking.one(address)
        inside_ns += time.monotonic_ns() - began
        board.words[board.place(0, slate.PAGES)] = had
        board.words[board.place(0, slate.INSIDE_NS)] = inside_ns
        due = max(due + 1, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
        asking.start_again()
    board.words[board.place(0, slate.READY)] = 1
    while not board.stopping:
        time.sleep(1)

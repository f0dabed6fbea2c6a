# SPDX-License-Identifier: GPL-2.0-only
"""How fast processes, or the threads of one, get pages and give them back."""

from __future__ import annotations

import os
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import memory, procfs
from page_alloc_bench.runner.measuring import rate, recorded, user
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.latencies import Latencies
from page_alloc_bench.runner.measuring.user import counted, populated, slate
from page_alloc_bench.runner.measuring.user.crew import Crew
from page_alloc_bench.runner.module import sampling
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case

from . import NAME, PROCESSES, THREADS, share_bytes

_KINDS = ("populate", "unmap")


@dataclass(frozen=True)
class _Plan:
    """A case. size: that each worker maps, in bytes; piece: of it, that is populated at once."""

    case: Case
    cpus: tuple[int, ...]
    by: str
    size: int
    piece: int
    huge_bytes: int
    seed: int

    @property
    def held_bytes(self) -> int:
        return len(self.cpus) * self.size


@dataclass
class _Sums:
    """What has been measured of a case."""

    latencies: dict[str, Latencies]
    rates: list[int] = field(default_factory=list)
    durations_ns: list[int] = field(default_factory=list)
    pages: int = 0
    inside_ns: int = 0
    outside_ns: int = 0
    kernel: counted.Counted = field(default_factory=counted.Counted)


class Faults:
    """One run of the workload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._options = bench.options
        self._told = user.Told(bench, NAME)

    def run(self) -> None:
        """Measure each size. Raises RunnerError, or a Stop with what is whole in the document."""
        options, cpus = self._options, self._bench.cpus
        self._told.each(lambda order: _plans(options, cpus, order), self._measure)

    def _measure(self, plan: _Plan) -> None:
        size, seed = self._options.sample_size, self._options.seed
        capacity = 0
        if self._options.latencies != "none":
            capacity = sampling.capacity_per_cpu(size, len(plan.cpus))
        kept = (capacity, size, seed, self._bench.cpus)
        sums = _Sums({kind: Latencies(*kept) for kind in _KINDS if capacity})
        self._told.measure(
            plan,
            {"mapped_bytes": plan.size, "piece_bytes": plan.piece},
            self._options.repeat,
            lambda where: self._repetition(plan, sums, capacity, where),
            lambda: self._record(plan, sums),
        )

    def _repetition(self, plan: _Plan, sums: _Sums, capacity: int, where: str) -> None:
        board = slate.Slate(len(plan.cpus), len(_KINDS), capacity)
        workers = range(len(plan.cpus))
        shares = [list(workers)] if plan.by == THREADS else [[worker] for worker in workers]
        before = counted.look(plan.case.order)
        crew = Crew(
            self._bench, f"{NAME}{where}", board, shares,
            lambda board, share: _work(plan, board, share),
        )  # fmt: skip
        with crew:
            crew.await_ready()
            crew.wait(rate.warm_up_s(self._options), f"{where}, warm-up")
            first_ns, first = time.monotonic_ns(), sum(board.each(slate.PAGES))
            for kind, latencies in sums.latencies.items():
                latencies.course.begin(_timed(board, kind), first_ns)
            parts = rate.slices(self._options)
            for number in range(parts):
                crew.wait(self._options.duration_s / parts, where)
                if number == parts - 1:
                    last_ns, last = time.monotonic_ns(), sum(board.each(slate.PAGES))
                for kind, latencies in sums.latencies.items():
                    latencies.course.look(_timed(board, kind), time.monotonic_ns())
            crew.finish()
            gone = recorded.offline(plan.cpus)
            if gone:
                raise RunnerError(f"{NAME}{where}: {gone}")
        sums.durations_ns.append(last_ns - first_ns)
        sums.rates.append(round((last - first) * 1e9 / (last_ns - first_ns)))
        sums.kernel += counted.look(plan.case.order) - before
        sums.pages += sum(board.each(slate.PAGES))
        sums.inside_ns += sum(board.each(slate.INSIDE_NS))
        sums.outside_ns += sum(board.each(slate.OUTSIDE_NS))
        for kind, latencies in sums.latencies.items():
            number = _KINDS.index(kind)
            latencies.add(
                (
                    (plan.cpus[worker], board.latency(worker, number, sample=False), 0)
                    for worker in workers
                ),
                (board.latency(worker, number).sample for worker in workers),
            )
        board.close()

    def _record(self, plan: _Plan, sums: _Sums) -> None:
        if not sums.rates:
            return
        put = self._bench.document.put
        for name, values in (
            ("pages_per_second", sums.rates),
            ("duration_ns", sums.durations_ns),
            ("pages", [sums.pages]),
            ("inside_kernel_ns", [sums.inside_ns]),
            ("outside_kernel_ns", [sums.outside_ns]),
        ):
            put(f"{NAME}_{name}", plan.case, values)
        for kind, latencies in sums.latencies.items():
            latencies.put(put, metrics.operations()[f"{NAME}_{kind}"], plan.case)
        sums.kernel.record(self._bench, NAME, plan.case, sums.pages, "allocated")


def _plans(options: Namespace, cpus: Sequence[int], order: int) -> list[_Plan]:
    """Return the cases of an order."""
    found = []
    for step in user.steps(options, cpus):
        for by in options.fault_by:
            chosen = {} if by == PROCESSES else {"by": by}
            if len(step) != len(cpus):
                chosen["cpus"] = str(len(step))
            size, huge = share_bytes(len(step)), memory.huge_page_bytes()
            # Threads take turns in Python between two calls: the fewer of these the better.
            piece = size if by == THREADS else huge
            case = Case(order, tuple(sorted(chosen.items())))
            found.append(_Plan(case, step, by, size, piece, huge, options.seed))
    return found


def _timed(board: slate.Slate, kind: str) -> Iterator[Latency]:
    """Yield what each worker has timed so far."""
    for worker in range(board.workers):
        yield board.latency(worker, _KINDS.index(kind), sample=False)


# In a process


def _work(plan: _Plan, board: slate.Slate, share: Sequence[int]) -> None:
    """Be a process of the workload, whose workers are threads if there are several."""
    run = _guarded if plan.by == THREADS else _run
    if plan.by != THREADS:
        run(plan, board, share[0])
        return
    threads = [threading.Thread(target=run, args=(plan, board, worker)) for worker in share]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _guarded(plan: _Plan, board: slate.Slate, worker: int) -> None:
    try:
        _run(plan, board, worker)
    except BaseException as error:
        board.fail(f"{type(error).__name__}: {error}")
        os._exit(1)


def _run(plan: _Plan, board: slate.Slate, worker: int) -> None:
    """Populate and unmap until it is time to stop. Little is Python's own in these loops."""
    os.sched_setaffinity(0, {plan.cpus[worker]})
    memory_ = populated.Memory(plan.size, plan.huge_bytes, huge=plan.case.order > 0)
    notes: list[Callable[[int], None]] = [_nothing, _nothing]
    if board.capacity:
        notes = [board.timer(worker, kind, plan.seed).note for kind in range(len(_KINDS))]
    populating, unmapping = notes
    clock, populate, piece = time.monotonic_ns, memory_.populate, plan.piece
    words, done = board.words, board.place(worker, slate.PAGES)
    pages, of_piece, inside_ns = 0, piece // procfs.page_size(), 0
    words[board.place(worker, slate.READY)] = 1
    began = clock()
    while not board.stopping:
        before = clock()
        start = memory_.map()
        inside_ns += clock() - before
        for address in range(start, start + plan.size, piece):
            before = clock()
            populate(address, piece)
            took = clock() - before
            inside_ns += took
            populating(took)
            pages += of_piece
            words[done] = pages
        before = clock()
        memory_.unmap()
        took = clock() - before
        inside_ns += took
        unmapping(took)
    words[board.place(worker, slate.INSIDE_NS)] = inside_ns
    words[board.place(worker, slate.OUTSIDE_NS)] = clock() - began - inside_ns


def _nothing(_ns: int) -> None:
    """Note nothing."""

# SPDX-License-Identifier: GPL-2.0-only
"""How many huge pages there are in memory that has been fragmented, and what each costs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import fragmented, huge_pages, memory, perf_events, procfs
from page_alloc_bench.runner.measuring import counting, recorded, user
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.user import huge, slate
from page_alloc_bench.runner.measuring.user.crew import Crew
from page_alloc_bench.runner.module.abi import State
from page_alloc_bench.runner.patterns.fragment import MOST
from page_alloc_bench.runner.result.case import Case

from . import ISLANDS, KEPT, MOVABLE, NAME, PINNED, lists, processes

_ISLAND = (16, 64)  # pages kept of each so many
_PART = 2  # of the free blocks one in so many is taken
_ASKED = 0.8  # of what is available
_LEAST = 8  # blocks for each CPU: with fewer there is nothing to tell
_REALLY = 0.5  # of the blocks taken so many must be free in smaller pieces
_FILL_S = 300.0
_ASK_S = 600.0
_LOOK_S = 0.1
_STILL_S = 0.5
_RECOVER_S = 10.0
_TOO_LARGE = "a huge page is larger than the page allocator's largest block"


@dataclass(frozen=True)
class _Plan:
    """A case. blocks: that each CPU takes, of the order of the case. keep, every: pages of each."""

    case: Case
    kept: str
    cpus: tuple[int, ...]
    blocks: int
    keep: int
    every: int

    @property
    def taken(self) -> int:
        return self.blocks * len(self.cpus)

    @property
    def parameters(self) -> dict[str, int]:
        return {
            "blocks": self.blocks, "order": self.case.order, "keep": self.keep,
            "every": self.every,
        }  # fmt: skip


class Fragment:
    """One run of the workload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._options = bench.options
        self._put = bench.document.put
        self._order = huge_pages.huge_order()
        self._told = user.Told(bench, NAME)

    def run(self) -> None:
        """Measure each way of keeping pages. Raises RunnerError, or a Stop."""
        with self._bench.phase(NAME, self._order), self._of_cpus_that_are_gone():
            for kept in sorted(self._options.keep_pages, key=KEPT.index):
                case = Case(self._order, () if kept == PINNED else (("keep", kept),))
                if self._order > procfs.largest_order():
                    self._told.leave_out(case, _TOO_LARGE)
                elif not self._told.left_out(case, 0):
                    lists.empty(self._bench, self._bench.cpus, self._order, f", {case}")
                    self._measure(self._plan(case, kept))
        self._bench.case_ended()
        self._told.ended()

    @contextmanager
    def _of_cpus_that_are_gone(self) -> Iterator[None]:
        """Say of an error that a CPU has gone, if so: a process cannot run there, for one."""
        try:
            yield
        except RunnerError as error:
            gone = recorded.offline(self._bench.cpus)
            if gone and gone not in str(error):
                raise RunnerError(f"{NAME}: {gone}") from error
            raise

    def _plan(self, case: Case, kept: str) -> _Plan:
        """Plan for the free memory of now. Raises RunnerError where there is not enough."""
        order, cpus = self._order, tuple(self._bench.cpus)
        free = fragmented.free_blocks(procfs.buddyinfo(), order)
        available = procfs.meminfo().get("MemAvailable", 0) // (procfs.page_size() << order)
        blocks = min(free, available) // _PART // len(cpus)
        keep, every = _ISLAND if kept == ISLANDS else (1, 1 << order)
        most = MOST >> order
        if blocks < _LEAST:
            raise RunnerError(
                f"{NAME}: {free:,} whole blocks of the size of a huge page are free, too few for "
                f"{len(cpus)} CPUs. Free memory, or give fewer --cpus; after a reboot there are "
                "most"
            )
        return _Plan(case, kept, cpus, min(blocks, most), keep, every)

    def _measure(self, plan: _Plan) -> None:
        block = procfs.page_size() << self._order
        self._told.cases.append(
            {
                "case": plan.case.suffix(),
                "order": plan.case.order,
                "parameters": plan.parameters,
                "cpus": list(plan.cpus),
                "held_bytes": plan.taken * block // plan.every * plan.keep,
            }
        )
        before = fragmented.free_blocks(procfs.buddyinfo(), self._order)
        self._put_one(plan, "blocks_before", before)
        holding = self._processes if plan.kept == MOVABLE else self._pinned
        with self._fallbacks(plan) as count, holding(plan) as give_back:
            self._look(plan, before)
            self._ask(plan)
            count()
            began_ns = time.monotonic_ns()
            give_back()
            ended_ns = time.monotonic_ns()
        self._put_one(plan, "give_back_ns", ended_ns - began_ns)
        self._recover(plan)
        self._bench.case_ended()

    def _put_one(self, plan: _Plan, name: str, value: int) -> None:
        self._put(f"{NAME}_{name}", plan.case, [value])

    @contextmanager
    def _fallbacks(self, plan: _Plan) -> Iterator[Callable[[], None]]:
        """Count fallbacks to other migrate types from now on; yields what records them."""
        if not self._options.counters:
            yield lambda: None
            return
        with perf_events.Counters(counting.of_fallbacks(), procfs.online_cpus()) as counters:

            def record() -> None:
                for name, value in counting.fallbacks(counters.read()).items():
                    self._put_one(plan, name, value)

            yield record
            if counters.missing:
                self._bench.warn(f"{NAME}, {plan.case}: {counters.absent()}")

    @contextmanager
    def _pinned(self, plan: _Plan) -> Iterator[Any]:
        """Have the module's workers keep pages; yields what gives them back."""
        device, text = self._bench.device, f", {plan.case}"
        try:
            device.configure(
                pattern=NAME, parameters=plan.parameters, order=0, seed=self._options.seed,
                cpus=plan.cpus, time_one_in=0, sample_capacity=0,
            )  # fmt: skip
        except OSError as error:
            why = recorded.offline(plan.cpus) or error.strerror
            raise RunnerError(f"the module cannot prepare {NAME}{text}: {why}") from error
        device.start()
        try:
            end = time.monotonic() + _FILL_S
            while (progress := device.progress()).steady < progress.workers:
                gone = recorded.offline(plan.cpus) if progress.displaced else ""
                if gone or time.monotonic() > end:
                    raise RunnerError(f"{NAME}{text}: {gone or 'memory could not be taken'}")
                self._bench.reporter.tick(f"{text}, fragmenting")
                time.sleep(0.05)
            kept = plan.keep * (1 << self._order) // plan.every
            self._put_one(plan, "taken_blocks", progress.allocs // kept)
            yield device.stop
        except BaseException:
            with self._bench.signals.deferred():
                if device.progress().state == State.RUNNING:
                    device.stop()
            raise
        stats = [device.cpu_stats(cpu) for cpu in plan.cpus]
        recorded.warn_if_lost(
            self._bench.warn, f"{NAME}, {plan.case}",
            sum(each.allocs for each in stats), sum(each.frees for each in stats),
        )  # fmt: skip

    @contextmanager
    def _processes(self, plan: _Plan) -> Iterator[Any]:
        """Have processes keep pages; yields what ends them."""
        board = slate.Slate(len(plan.cpus), 0, 0)
        shares = [[worker] for worker in range(len(plan.cpus))]
        size = plan.blocks * (procfs.page_size() << self._order)

        def body(board: slate.Slate, share: Sequence[int]) -> None:
            processes.keep(board, share[0], plan.cpus[share[0]], size, self._order)

        with Crew(self._bench, f"{NAME}, {plan.case}", board, shares, body) as crew:
            crew.await_ready(_FILL_S * len(plan.cpus))  # one after the other
            self._put_one(plan, "taken_blocks", sum(board.each(slate.PAGES)))
            # What the processes gave back lies on the lists, and keeps blocks from being whole.
            lists.empty(self._bench, plan.cpus, self._order, f", {plan.case}")
            yield crew.__exit__
        board.close()

    def _look(self, plan: _Plan, before: int) -> None:
        """Record how fragmented memory is. Raises RunnerError where it is not."""
        buddyinfo = procfs.buddyinfo()
        left = fragmented.free_blocks(buddyinfo, self._order)
        self._put_one(plan, "blocks_fragmented", left)
        self._put_one(
            plan, "unusable_permille", fragmented.unusable_permille(buddyinfo, self._order)
        )
        could = fragmented.could_be_huge_permille(self._order)
        if could is not None:
            self._put_one(plan, "could_be_huge_permille", could)
        # What lay on the CPUs' lists may make whole blocks meanwhile: what tells is that as much
        # memory is free as was taken, in smaller pieces.
        pieces = (fragmented.free_blocks(buddyinfo, 0) >> self._order) - left
        if pieces < _REALLY * plan.taken or left >= before:
            raise RunnerError(
                f"{NAME}, {plan.case}: not fragmented: of {before:,} whole blocks {left:,} are "
                f"left, and {plan.taken:,} were to be broken up. Memory that others free meanwhile "
                "hides it: stop them, or reboot, and run again"
            )

    def _ask(self, plan: _Plan) -> None:
        """Let processes ask for huge pages until they get none, and record what it cost."""
        block, workers = procfs.page_size() << self._order, range(len(plan.cpus))
        most = int(procfs.meminfo().get("MemAvailable", 0) * _ASKED) // block // len(workers)
        self._put_one(plan, "huge_pages_free", memory.free_bytes() // block)
        seed = self._options.seed
        board = slate.Slate(len(workers), len(huge.KINDS), huge.capacity(self._bench, len(workers)))

        def body(board: slate.Slate, share: Sequence[int]) -> None:
            processes.ask(
                board, share[0], plan.cpus[share[0]], size=most * block, order=self._order,
                seed=seed,
            )  # fmt: skip

        text = f", {plan.case}, asking"
        before, began_ns = procfs.vmstat(), time.monotonic_ns()
        with Crew(self._bench, f"{NAME}{text}", board, [[each] for each in workers], body) as crew:
            crew.wait(_ASK_S, text, lambda: all(board.each(slate.READY)), poll_s=_LOOK_S)
            took_ns, delta = (
                time.monotonic_ns() - began_ns,
                procfs.difference(before, procfs.vmstat()),
            )
        self._put_one(plan, "ask_ns", took_ns)
        self._put_one(plan, "huge_pages", sum(board.each(slate.PAGES)))
        huge.put_costs(functools.partial(self._put_one, plan), delta)
        found = huge.latencies(self._bench, len(workers))
        huge.add(found, board, workers)
        huge.put(self._bench, NAME, plan.case, found)
        board.close()

    def _recover(self, plan: _Plan) -> None:
        """Record how many whole blocks there are again, and how soon there were.

        Pages on the lists of the CPUs keep some from being whole: those are counted afterwards.
        """
        began = grew = time.monotonic()
        most = -1
        while (now := time.monotonic()) - grew < _STILL_S and now - began < _RECOVER_S:
            blocks = fragmented.free_blocks(procfs.buddyinfo(), self._order)
            if blocks > most:
                most, grew = blocks, now
            self._bench.reporter.tick(f", {plan.case}, recovery")
            time.sleep(0.01)
        self._put_one(plan, "blocks_back", most)
        self._put_one(plan, "recovery_ns", round((grew - began) * 1e9))
        lists.empty(self._bench, plan.cpus, self._order, f", {plan.case}")
        time.sleep(lists.OF_OTHERS_S)
        blocks = fragmented.free_blocks(procfs.buddyinfo(), self._order)
        self._put_one(plan, "blocks_recovered", blocks)

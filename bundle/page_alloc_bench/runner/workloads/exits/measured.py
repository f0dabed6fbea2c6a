# SPDX-License-Identifier: GPL-2.0-only
"""How long it takes until the memory of processes that die together is free."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import memory, pidfd, procfs
from page_alloc_bench.runner.measuring import recorded, user
from page_alloc_bench.runner.measuring.agreement import BACK_SHARE
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.user import counted, populated, slate
from page_alloc_bench.runner.measuring.user.crew import Crew
from page_alloc_bench.runner.result.case import Case

from . import NAME, share_bytes

_DIE_S = 60.0
_BACK_S = 30.0
_POLL_S = 0.001
_PIECE = 2 << 20
_MOSTLY = 0.5


@dataclass(frozen=True)
class _Plan:
    """A case. cpus: on which the processes are; size: what each has, in bytes."""

    case: Case
    cpus: tuple[int, ...]
    processes: int
    size: int
    huge_bytes: int

    @property
    def held_bytes(self) -> int:
        return self.processes * self.size


@dataclass
class _Sums:
    """What has been measured of a case, an item per repetition, and what the kernel counts."""

    durations_ns: list[int] = field(default_factory=list)
    bare_ns: list[int] = field(default_factory=list)
    back_ns: list[int] = field(default_factory=list)
    kernel: counted.Counted = field(default_factory=counted.Counted)


class Exits:
    """One run of the workload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._options = bench.options
        self._told = user.Told(bench, NAME)

    def run(self) -> None:
        """Measure each size. Raises RunnerError, or a Stop with what is whole in the document."""
        self._told.each(self._plans, self._measure)

    def _plans(self, order: int) -> list[_Plan]:
        cpus, each = self._bench.cpus, self._options.exit_processes
        found = []
        for step in user.steps(self._options, cpus):
            chosen = () if len(step) == len(cpus) else (("cpus", str(len(step))),)
            size, huge = share_bytes(self._options, len(step)), memory.huge_page_bytes()
            found.append(_Plan(Case(order, chosen), step, len(step) * each, size, huge))
        return found

    def _measure(self, plan: _Plan) -> None:
        sums = _Sums()
        self._told.measure(
            plan,
            {"processes": plan.processes, "process_bytes": plan.size},
            self._options.exits,
            lambda where: self._repetition(plan, sums, where),
            lambda: self._record(plan, sums),
        )

    def _repetition(self, plan: _Plan, sums: _Sums, where: str) -> None:
        """Let processes die that have nothing of their own, then those that have memory."""
        bare_ns, _ = self._deaths(plan, 0, where)
        before = counted.look(plan.case.order)
        took_ns, back_ns = self._deaths(plan, plan.size, where)
        gone = recorded.offline(plan.cpus)
        if gone:
            raise RunnerError(f"{NAME}{where}: {gone}")
        sums.kernel += counted.look(plan.case.order) - before
        sums.bare_ns.append(bare_ns)
        sums.durations_ns.append(took_ns)
        if back_ns is not None:
            sums.back_ns.append(back_ns)

    def _deaths(self, plan: _Plan, size: int, where: str) -> tuple[int, int | None]:
        """Return how long it took until all were dead, and until the memory was free.

        None: that was not seen, or there was none.
        """
        board = slate.Slate(plan.processes, 0, 0)
        crew = Crew(
            self._bench, f"{NAME}{where}", board, [[one] for one in range(plan.processes)],
            lambda board, share: _hold(plan, size, board, share[0]),
        )  # fmt: skip
        with crew:
            crew.await_ready()
            wanted = memory.free_bytes() + int(BACK_SHARE * plan.processes * size)
            with self._bench.signals.deferred():
                began_ns, dead_ns = _kill(crew.pids)
        free_ns = self._await_free(wanted, where) if size else None
        board.close()
        return dead_ns - began_ns, None if free_ns is None else free_ns - began_ns

    def _await_free(self, wanted: int, where: str) -> int | None:
        """Return when so much was free, also on the lists of each CPU; None: not in time."""
        deadline = time.monotonic() + _BACK_S
        while memory.free_bytes(wanted) < wanted:
            if time.monotonic() > deadline:
                self._bench.warn(
                    f"{NAME}{where}: the memory was not all back after {_BACK_S:g} s: another "
                    "process has taken some of it meanwhile"
                )
                return None
            self._bench.reporter.tick(where)
            time.sleep(_POLL_S)
        return time.monotonic_ns()

    def _record(self, plan: _Plan, sums: _Sums) -> None:
        if not sums.durations_ns:
            return
        pages = plan.held_bytes // procfs.page_size()
        for name, values in (
            ("pages_per_second", [round(pages * 1e9 / took) for took in sums.durations_ns]),
            ("duration_ns", sums.durations_ns),
            ("bare_ns", sums.bare_ns),
            ("back_ns", sums.back_ns),
            ("pages", [pages * len(sums.durations_ns)]),
        ):
            if values:
                self._bench.document.put(f"{NAME}_{name}", plan.case, values)
        if sum(sums.bare_ns) > _MOSTLY * sum(sums.durations_ns):
            self._bench.warn(
                f"{NAME}, {plan.case}: processes without memory of their own take more than half "
                "as long to die: much of the time is not about memory. Give more --exit-mib, or "
                "more --exit-processes"
            )
        ours = pages * len(sums.durations_ns)
        sums.kernel.record(self._bench, NAME, plan.case, ours, "freed")


def _kill(pids: Sequence[int]) -> tuple[int, int]:
    """Kill processes of ours at the same time; return when that began, and when all were dead.

    A process has given its memory back before it can be waited for: exit_mm() comes before
    exit_notify() in kernel/exit.c, do_exit().
    """
    poller = select.poll()
    waited = {pidfd.open_pidfd(pid) for pid in pids}
    try:
        for descriptor in waited:
            poller.register(descriptor, select.POLLIN)
        left = set(waited)
        began_ns = time.monotonic_ns()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _DIE_S
        while left:
            for descriptor, _ in poller.poll(1000):
                poller.unregister(descriptor)
                left.discard(descriptor)
            if left and time.monotonic() > deadline:
                raise RunnerError(f"{NAME}: processes that were killed do not die")
        return began_ns, time.monotonic_ns()
    finally:
        for descriptor in waited:
            os.close(descriptor)


def _hold(plan: _Plan, size: int, board: slate.Slate, worker: int) -> None:
    """Be a process: have memory, and wait for death."""
    os.sched_setaffinity(0, {plan.cpus[worker % len(plan.cpus)]})
    if size:
        own = populated.Memory(size, plan.huge_bytes, huge=plan.case.order > 0)
        start = own.map()
        for address in range(start, start + size, min(size, _PIECE)):
            own.populate(address, min(size, _PIECE))
    board.words[board.place(worker, slate.READY)] = 1
    while True:
        signal.pause()

# SPDX-License-Identifier: GPL-2.0-only
"""Workloads whose processes use memory of their own: user space's way to the allocator.

They have no pattern of the module. Their orders are those of the page sizes that are asked for.
"""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import ALL, Sizes
from page_alloc_bench.runner.command_line.option import Option, Part
from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.measuring import rate
from page_alloc_bench.runner.workload import Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol, TypeVar

    from page_alloc_bench.runner.measuring.bench import Bench, PlannedPhase
    from page_alloc_bench.runner.result.case import Case

    class Planned(Protocol):
        """A case that is to be measured."""

        @property
        def case(self) -> Case:
            """Return what its metrics are named by."""

        @property
        def cpus(self) -> tuple[int, ...]:
            """Return the CPUs that work."""

        @property
        def held_bytes(self) -> int:
            """Return what its processes use."""

    Plan = TypeVar("Plan", bound=Planned)

BASE, THP = "base", "thp"

PAGES = Part(
    "page-sizes",
    "workloads whose processes use memory",
    (
        Option(
            "page_sizes",
            Sizes(BASE, THP),
            [BASE, THP],
            "pages that processes ask for: base, thp (the huge page of a page table's upper level),"
            " or a size between them like 64k",
            metavar="LIST",
            kind="invalidating",
            always=False,
        ),
    ),
)

CHECKS = rate.CHECKS | {"memory-cgroup"}
_PART = 8  # of the memory one part in so many may be used, in default sizes


def _one(_options: Namespace) -> int:
    return 1


def orders(options: Namespace) -> list[int]:
    """Return the orders of the page sizes that are asked for, each once."""
    from page_alloc_bench.runner.kernel import huge_pages, procfs

    known = {BASE: 0, THP: huge_pages.huge_order()}
    return list(
        dict.fromkeys(
            known[size] if size in known
            else max(int(size[:-1]) * 1024 // procfs.page_size(), 1).bit_length() - 1
            for size in options.page_sizes
        )
    )  # fmt: skip


def steps(options: Namespace, cpus: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the CPUs of each step, each once."""
    sizes = (len(cpus) if step == ALL else int(step) for step in options.cpus_steps)
    return [tuple(cpus[:size]) for size in dict.fromkeys(sizes)]


def share_bytes(most: int, processes: int) -> int:
    """Return how much each of so many processes uses: a power of two, a huge page at least.

    It depends on the machine's memory, and not on what is free: runs of one host can be compared.
    """
    from page_alloc_bench.runner.kernel import memory, procfs

    share = min(most, procfs.meminfo().get("MemTotal", 0) // _PART // processes)
    return max(1 << max(share.bit_length() - 1, 0), memory.huge_page_bytes())


def workload(
    name: str,
    *,
    isolates: str,
    options: tuple[Option, ...],
    run: Callable[[Bench], None],
    case_s: Callable[[Namespace], float],
    process_bytes: Callable[[Namespace, int], int],
    processes: Callable[[Namespace], int] = _one,
    variants: Callable[[Namespace], int] = _one,
    shared: tuple[Part, ...] = (),
) -> Workload:
    """Return a workload whose processes use memory.

    case_s: how long a case takes. process_bytes: what each process uses where there are so many
    CPUs. processes: of each CPU. variants: cases of each number of CPUs. shared: see Workload.
    """

    def plan(options: Namespace) -> list[PlannedPhase]:
        from page_alloc_bench.runner.measuring.bench import PlannedPhase

        return [PlannedPhase(name, order) for order in orders(options)]

    def cases(options: Namespace) -> int:
        return variants(options) * len(options.cpus_steps)

    def held(options: Namespace, cpus: Sequence[int]) -> list[int]:
        each = [
            len(step) * processes(options) * process_bytes(options, len(step))
            for step in steps(options, cpus)
        ]
        return each * variants(options) * len(orders(options))

    return Workload(
        name=name,
        title=name,
        isolates=isolates,
        options=options,
        patterns=(),
        plan=plan,
        run=run,
        seconds={},
        checks=CHECKS,
        asked=lambda options, _order: {name: case_s(options) * cases(options)},
        shared=(*shared, rate.STEPS, PAGES),
        cases=cases,
        held=held,
        fits=rate.fits,
        needs="a quarter of the available memory at most, Linux 5.14 or newer; fills nothing",
    )


class Told:
    """What run.workloads says of a workload: its cases, and those that cannot be measured here."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._name = name
        self.cases: list[dict[str, Any]] = []
        self._absent: list[dict[str, str]] = []
        told = {"name": name, "cases": self.cases, "absent": self._absent}
        bench.document.run.setdefault("workloads", []).append(told)

    def each(self, plans: Callable[[int], Iterable[Plan]], measure: Callable[[Plan], None]) -> None:
        """Measure the cases of each size of pages that can be measured here.

        Raises RunnerError, or a Stop with what is whole in the document.
        """
        for order in orders(self._bench.options):
            with self._bench.phase(self._name, order):
                for plan in plans(order):
                    if not self.left_out(plan.case, plan.held_bytes):
                        measure(plan)
            self._bench.case_ended()
        self.ended()

    def measure(
        self,
        plan: Planned,
        parameters: Mapping[str, int],
        times: int,
        repetition: Callable[[str], None],
        record: Callable[[], None],
    ) -> None:
        """Tell of a case, and measure it so often; what is whole is recorded, however it ends.

        parameters: what run.workloads has of it. repetition: takes where it is, for messages.
        """
        self.cases.append(
            {
                "case": plan.case.suffix(),
                "order": plan.case.order,
                "parameters": dict(parameters),
                "cpus": list(plan.cpus),
                "held_bytes": plan.held_bytes,
            }
        )
        try:
            for number in range(1, times + 1):
                repetition(f", {plan.case}, {number} of {times}")
        finally:
            with self._bench.signals.deferred():
                record()

    def left_out(self, case: Case, held: int) -> bool:
        """Say why a case is left out; return whether it is. held: what it uses, in bytes."""
        from page_alloc_bench.runner.kernel import huge_pages

        from .populated import can_populate

        why = huge_pages.why_not(case.order)
        if why is None and not can_populate():
            why = "this kernel has no MADV_POPULATE_WRITE, as Linux has from 5.14 on"
        if why is not None:
            self.leave_out(case, why)
            return True
        return self.too_large(case, held)

    def too_large(self, case: Case, held: int) -> bool:
        """Say that a case is left out if it uses too much, in bytes; return whether it does."""
        from page_alloc_bench.runner.kernel import procfs
        from page_alloc_bench.runner.measuring.rate.cases import PART, room_bytes
        from page_alloc_bench.runner.result import units

        room = room_bytes(procfs.meminfo())
        if held > room:
            self._bench.warn(
                f"{self._name}, {case}: left out: it would use {units.whole_mib(held)}, more than "
                f"1/{PART} of what is available, which is {units.whole_mib(room)}"
            )
        return held > room

    def leave_out(self, case: Case, why: str) -> None:
        """Tell of a case that cannot be measured here."""
        self._absent.append({"case": case.suffix(), "why": why})

    def ended(self) -> None:
        """Say that nothing could be measured, if so. Raises RunnerError where memory was short."""
        if not self.cases and self._absent:
            self._bench.warn(f"{self._name}: not measured: {self._absent[0]['why']}")
        elif not self.cases:
            raise RunnerError(f"{self._name}: no case could be measured; the warnings say why")

# SPDX-License-Identifier: GPL-2.0-only
"""How many atomic allocations fail while memory is short."""

from __future__ import annotations

from dataclasses import dataclass, field

from page_alloc_bench.runner.errors import FindlimitError, RunnerError
from page_alloc_bench.runner.kernel import oom_log, procfs
from page_alloc_bench.runner.measuring import recorded, stall, user
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.findlimit import measure
from page_alloc_bench.runner.module.abi import Gfp
from page_alloc_bench.runner.result.case import Case

from . import NAME, burst_blocks, held_bytes, reserved_pages


@dataclass(frozen=True)
class _Plan:
    """A case. blocks: that each CPU asks for in a burst. reserved: pages that the kernel keeps."""

    case: Case
    cpus: tuple[int, ...]
    blocks: int
    every_ms: int
    reserved: int
    held_bytes: int


@dataclass
class _Pressed:
    """Allocations that were asked for below the low watermark, and those of them that failed."""

    asked: int = 0
    failed: int = 0


@dataclass
class _Sums:
    """What has been measured, fill by fill. stalls: direct reclaims."""

    pressed: list[_Pressed] = field(default_factory=list)
    stalls: int = 0


class Atomic:
    """One run of the workload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._options = bench.options
        self._device = bench.device
        self._told = user.Told(bench, NAME)

    def run(self) -> None:
        """Measure each order. Raises RunnerError, or a Stop with what is whole in the document."""
        for order in self._options.atomic_orders:
            with self._bench.phase(NAME, order):
                plan = self._plan(order)
                if not self._told.too_large(plan.case, plan.held_bytes):
                    self._measure(plan)
            self._bench.case_ended()
        self._told.ended()

    def _plan(self, order: int) -> _Plan:
        cpus = tuple(self._bench.cpus)
        return _Plan(
            Case(order), cpus,
            blocks=burst_blocks(self._options, order, len(cpus)),
            every_ms=1000 // self._options.bursts_per_second,
            reserved=reserved_pages(order),
            held_bytes=held_bytes(self._options, order, len(cpus)),
        )  # fmt: skip

    def _measure(self, plan: _Plan) -> None:
        parameters = {
            "blocks": plan.blocks, "every_ms": plan.every_ms, "reserved_pages": plan.reserved,
        }  # fmt: skip
        sums = _Sums()
        self._start(plan)
        self._told.measure(
            plan, parameters, self._options.fills,
            lambda where: self._fill(plan, sums, where),
            lambda: self._record(plan, sums),
        )  # fmt: skip

    def _start(self, plan: _Plan) -> None:
        try:
            self._device.configure(
                pattern=NAME,
                parameters={"blocks": plan.blocks, "every_ms": plan.every_ms},
                order=plan.case.order, seed=self._options.seed, cpus=plan.cpus,
                time_one_in=0, sample_capacity=0, gfp=Gfp.ATOMIC,
            )  # fmt: skip
        except OSError as error:
            why = recorded.offline(plan.cpus) or error.strerror
            raise RunnerError(f"the module cannot prepare {NAME}, {plan.case}: {why}") from error
        self._device.start()

    def _fill(self, plan: _Plan, sums: _Sums, where: str) -> None:
        """Have a process fill memory beside the bursts, until the OOM killer ends it."""

        def on_progress(size_bytes: int) -> None:
            self._bench.reporter.tick(where, size_bytes)
            self._check(plan, where)

        on_progress(0)
        before, stalls = self._pressed(plan), _stalls()
        settings = measure.settings(self._options, plan.cpus, plan.held_bytes)
        try:
            limit = measure.measure(settings, on_progress=on_progress)
        except stall.StalledError as error:
            number = len(sums.pressed) + 1
            raise recorded.stalled(
                self._bench, error, NAME, plan.case.order, number=number, where=f", fill {number}"
            ) from error
        except FindlimitError as error:
            raise RunnerError(f"{NAME}{where}: {error}") from error
        self._check(plan, where)
        now = self._pressed(plan)
        seen = _Pressed(now.asked - before.asked, now.failed - before.failed)
        sums.pressed.append(seen)
        sums.stalls += _stalls() - stalls
        for warning in (*limit.warnings, *oom_log.constraint_warnings(limit.constraint)):
            self._bench.warn(f"{NAME}{where}: {warning}")
        if not seen.asked:
            self._bench.warn(
                f"{NAME}{where}: nothing was asked for while memory was short; give more "
                "--bursts-per-second"
            )
        self._bench.reporter.finished(
            f"{where}: {seen.failed:,} of {seen.asked:,} failed below the low watermark",
            last=len(sums.pressed) == self._options.fills,
        )

    def _check(self, plan: _Plan, where: str) -> None:
        """Raise RunnerError if a worker has lost its CPU."""
        if self._device.progress().displaced:
            gone = recorded.offline(plan.cpus) or "a worker lost its CPU"
            raise RunnerError(f"{NAME}{where}: {gone}")

    def _pressed(self, plan: _Plan) -> _Pressed:
        """Return what the module's workers have seen so far; it notes a failure as 1 ns."""
        found = [self._device.latency(cpu, "pressed", sample=False) for cpu in plan.cpus]
        return _Pressed(sum(each.timed for each in found), sum(each.total_ns for each in found))

    def _record(self, plan: _Plan, sums: _Sums) -> None:
        """Stop the workers, and record what they did."""
        self._device.stop()
        put, case = self._bench.document.put, plan.case
        stats = [self._device.cpu_stats(cpu) for cpu in plan.cpus]
        for metric, counts in (
            ("allocs", [each.allocs for each in stats]),
            ("frees", [each.frees for each in stats]),
            ("failures", [each.failures for each in stats]),
        ):
            put(f"{NAME}_{metric}", case, [sum(counts)])
            put(f"{NAME}_{metric}_per_cpu", case, counts)
        streaks = [self._device.latency(cpu, "streak", sample=False) for cpu in plan.cpus]
        put(f"{NAME}_streaks", case, [sum(each.timed for each in streaks)])
        put(f"{NAME}_longest_streak", case, [max(each.max_ns for each in streaks)])
        put(f"{NAME}_pressed_allocs", case, [each.asked - each.failed for each in sums.pressed])
        put(f"{NAME}_pressed_failures", case, [each.failed for each in sums.pressed])
        ppm = [round(each.failed * 1e6 / each.asked) for each in sums.pressed if each.asked]
        if ppm:
            put(f"{NAME}_pressed_failures_ppm", case, ppm)
        put(f"{NAME}_reclaim_stalls", case, [sums.stalls])
        recorded.warn_if_lost(
            self._bench.warn, f"{NAME}, {case}",
            sum(each.allocs for each in stats), sum(each.frees for each in stats),
        )  # fmt: skip


def _stalls() -> int:
    """Return how often a task has reclaimed memory itself since the boot."""
    return sum(n for name, n in procfs.vmstat().items() if name.startswith("allocstall"))

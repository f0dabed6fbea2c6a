# SPDX-License-Identifier: GPL-2.0-only
"""The default workload: available memory without an antagonist, then with one, order by order."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence

from page_alloc_bench.runner import pattern
from page_alloc_bench.runner.errors import FindlimitError, RunnerError
from page_alloc_bench.runner.kernel import oom_log, procfs
from page_alloc_bench.runner.measuring import agreement, recorded, stall
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.course import Course
from page_alloc_bench.runner.measuring.findlimit import measure
from page_alloc_bench.runner.module import merged, sampling
from page_alloc_bench.runner.module.abi import NO_OOM, CpuStats, Progress
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result import clock_step, metrics, units

from . import phases
from .accounts import Accounts, entries

_POLL_S = 0.05
PATTERN = "antagonist"

_NAMES = {
    "alloc": "kernel_page_alloc",
    "free": "kernel_page_free",
    "alloc_failure": "kernel_alloc_failure",
}

_OF_ALL = ("alloc", "free")  # of which each CPU, and each iteration, is told

_PLURALS = {
    "kernel_page_alloc": "allocations",
    "kernel_page_free": "frees",
    "kernel_alloc_failure": "failed allocations",
}


class AvailableMemory:
    """One run of the workload."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._options = bench.options
        self._cpus = bench.cpus
        self._device = bench.device
        self._document = bench.document
        self._reporter = bench.reporter
        self._signals = bench.signals
        self._warn = bench.warn
        self._pattern = pattern.every()[PATTERN]
        self._sample_capacity = sampling.capacity_per_cpu(
            self._options.sample_size, len(self._cpus)
        )
        self._accounts = Accounts(self._document, self._warn, agreement.scene(len(self._cpus)))
        self._order = 0
        self._steady: Progress | None = None
        self._clock_told = False
        self._before_start: dict[str, int] = {}
        self._courses: dict[str, Course] = {}

    def run(self) -> None:
        """Measure each order. Raises RunnerError, or a Stop with what is whole in the document."""
        steps: dict[str, Callable[[], None]] = {
            "configure": self._configure,
            "idle": functools.partial(self._findlimit, "idle"),
            "steady_wait": self._antagonize,  # and all that follows of its order
        }
        for name, order in phases(self._options.alloc_orders):
            self._order = order
            if name in steps:
                steps[name]()
            if name == "results":
                self._bench.case_ended()

    def _configure(self) -> None:
        with self._bench.phase("configure", self._order):
            self._prepare()

    def _prepare(self) -> None:
        options = self._options
        one_in = sampling.TIME_ONE_IN[options.latencies]
        try:
            self._device.configure(
                pattern=self._pattern.name,
                parameters=self._pattern.parameters(options),
                order=self._order,
                seed=options.seed,
                cpus=self._cpus,
                time_one_in=one_in,
                sample_capacity=self._sample_capacity if one_in else 0,
            )
        except OSError as error:
            why = recorded.offline(self._cpus) or error.strerror
            raise RunnerError(f"the module cannot prepare order {self._order}: {why}") from error

    def _findlimit(self, phase: str) -> None:
        """Measure available memory --iterations times; only whole iterations are recorded."""
        with self._bench.phase(phase, self._order) as record:
            for number in range(1, self._options.iterations + 1):
                self._iterate(phase, number)
        kills = record["vmstat_delta"].get("oom_kill", 0)
        self._accounts.kills(phase, self._order, kills, self._options.iterations)

    def _iterate(self, phase: str, number: int) -> None:
        order = self._order
        where = f", iteration {number} of {self._options.iterations}"
        antagonized = phase == "antagonized"

        def on_progress(size_bytes: int) -> None:
            self._reporter.tick(where, size_bytes)

        on_progress(0)  # whatever takes less than a second is never heard of otherwise

        if antagonized:
            self._device.watch_oom()
        settings = measure.settings(self._options, self._cpus)
        start_s = self._bench.elapsed_s()
        try:
            limit = measure.measure(settings, on_progress=on_progress)
        except stall.StalledError as error:
            raise self._stalled(phase, error, number) from error
        except FindlimitError as error:
            raise RunnerError(f"order {order}, {phase}{where}: {error}") from error
        with self._signals.deferred():
            self._record(phase, number, start_s, limit)
            held = self._record_held(number) if antagonized else 0
            self._accounts.iteration(phase, self._order, number, limit, held)
            if antagonized:
                for operation, course in self._courses.items():
                    course.look(self._timed(operation), time.monotonic_ns())
        self._reporter.finished(
            f"{where}: {units.size(limit.available_bytes, 3)}",
            last=number == self._options.iterations,
        )

    def _stalled(
        self, phase: str, error: stall.StalledError, number: int | None = None
    ) -> RunnerError:
        """Put what the kernel says of a stall into the document; return what ends the run."""
        where = "" if number is None else f", iteration {number} of {self._options.iterations}"
        return recorded.stalled(self._bench, error, phase, self._order, number=number, where=where)

    def _record(self, phase: str, number: int, start_s: float, limit: measure.Limit) -> None:
        """Put one whole iteration into the document."""
        document, order = self._document, self._order
        document.append(f"{phase}_available_bytes", order, limit.available_bytes)
        document.append(f"{phase}_available_rss_bytes", order, limit.rss_bytes)
        document.append(f"{phase}_findlimit_duration_ns", order, round(limit.duration_s * 1e9))
        document.append(f"{phase}_release_duration_ns", order, round(limit.release_s * 1e9))
        document.run["iterations"].append(
            {
                "phase": phase,
                "order": order,
                "iteration": number,
                "start_s": start_s,
                "constraint": limit.constraint,
                "oom_rss_bytes": limit.oom_rss_bytes,
                "oom_free_bytes": limit.oom_free_bytes,
                "oom_free_pcp_bytes": limit.oom_free_pcp_bytes,
                "swapped_bytes": limit.swapped_bytes,
                "memory_before": entries(limit.before),
                "memory_at_kill": None if limit.at_kill is None else entries(limit.at_kill),
                "warnings": list(limit.warnings),
            }
        )
        for warning in (*limit.warnings, *oom_log.constraint_warnings(limit.constraint)):
            self._warn(f"{phase} at order {order}, iteration {number}: {warning}")

    def _record_held(self, number: int) -> int | None:
        """Put what the antagonist held at the OOM kill of an iteration into the document.

        Return it, in bytes; None if that is not known.
        """
        held = self._device.progress().oom_held
        if held == NO_OOM:
            self._warn(
                f"order {self._order}, antagonized, iteration {number}: the machine itself was not "
                "out of memory, so that what the antagonist held does not belong in the sum"
            )
            return None
        self._document.append("antagonist_held_bytes", self._order, self._bytes(held))
        return self._bytes(held)

    def _antagonize(self) -> None:
        """Measure beside the running antagonist; what it did is recorded even if cut short."""
        self._steady = None
        try:
            with self._bench.phase("steady_wait", self._order):
                self._before_start = procfs.vmstat()
                self._device.start()
                self._wait_until_steady()
            timed = () if self._options.latencies == "none" else _OF_ALL
            self._courses = {operation: Course(self._cpus) for operation in timed}
            for operation, course in self._courses.items():
                course.begin(self._timed(operation), time.monotonic_ns())
            self._findlimit("antagonized")
        except BaseException:
            if self._steady is not None:
                self._try_to_finish_antagonist()
            raise
        self._finish_antagonist()

    def _try_to_finish_antagonist(self) -> None:
        """Save what the antagonist did; what ended the run remains the reason for its end."""
        try:
            self._finish_antagonist()
        except Exception as error:
            self._warn(f"order {self._order}: the antagonist's results are lost: {error}")

    def _timed(self, operation: str) -> Iterator[Latency]:
        """Yield what each CPU has timed so far."""
        for cpu in self._cpus:
            yield self._device.latency(cpu, operation, sample=False)

    def _wait_until_steady(self) -> None:
        """Return when each worker has held --held blocks once, or has lost its CPU."""
        clock = stall.Clock(self._options.stall_s)
        while True:
            progress = self._device.progress()
            if progress.displaced == progress.workers:
                raise RunnerError("every CPU that the antagonist used went offline")
            if progress.steady + progress.displaced >= progress.workers:
                self._steady = progress
                return
            if clock.stalled(progress.allocs):
                raise self._stalled(
                    "steady_wait",
                    stall.StalledError(
                        f"the antagonist has not allocated anything for {self._options.stall_s:g} "
                        f"s (--stall-s): {progress.steady} of {progress.workers} workers are "
                        "steady; the result has what the kernel says about it, in run.stall",
                        {"populated_bytes": None, "unkillable": False, **stall.record(None)},
                    ),
                )
            self._reporter.tick(f", {progress.steady} of {progress.workers} workers are there")
            time.sleep(_POLL_S)

    def _finish_antagonist(self) -> None:
        """Stop the workers and record what they did, uninterrupted."""
        with self._signals.deferred():
            last = self._device.progress()
            with self._bench.phase("stop", self._order):
                self._device.stop()
            after_stop = procfs.vmstat()
            with self._bench.phase("results", self._order):
                assert self._steady is not None
                self.collect(self._order, self._steady, last)
                delta = procfs.difference(self._before_start, after_stop)
                self._accounts.pages(self._order, delta, self._options.iterations)

    def collect(self, order: int, steady: Progress, last: Progress) -> None:
        """Put into the document what the workers of ORDER counted and timed.

        steady, last: their counts when all had what they hold, and when they were stopped.
        """
        self._order = order
        stats = [self._device.cpu_stats(cpu) for cpu in self._cpus]
        self._check_workers(stats)
        self._collect_counts(stats)
        self._collect_rates(steady, last)
        self._document.run["clocks"] = recorded.clocks(stats)
        for operation in _NAMES:
            self._collect_latencies(operation, stats)
        self._check_clock()

    def _collect_counts(self, stats: Sequence[CpuStats]) -> None:
        order, put = self._order, self._document.put
        for name, values in (
            ("kernel_page_allocs", [s.allocs for s in stats]),
            ("kernel_page_frees", [s.frees for s in stats]),
            ("kernel_alloc_failures", [s.failures for s in stats]),
            ("kernel_page_allocs_remote", [s.remote for s in stats]),
        ):
            put(name, order, [sum(values)])
            put(f"{name}_per_cpu", order, values)

    def _collect_rates(self, first: Progress, last: Progress) -> None:
        """Record what happened between the steady state and the stop."""
        order, put = self._order, self._document.put
        duration_ns = last.time_ns - first.time_ns
        put("antagonist_steady_duration_ns", order, [duration_ns])
        put("kernel_page_allocs_steady", order, [last.allocs - first.allocs])
        if duration_ns > 0:
            rate = round((last.allocs - first.allocs) * 1e9 / duration_ns)
            put("kernel_page_allocs_per_second", order, [rate])

    def _collect_latencies(self, operation: str, stats: Sequence[CpuStats]) -> None:
        """Record one kind of operation of all CPUs: sample, histogram, maximum and counts."""
        order, timed = self._order, metrics.operations()[_NAMES[operation]]
        if self._options.latencies == "none":
            return
        found = merged.Timed(self._sample_capacity)
        course = self._courses.get(operation)
        for s in stats:
            latency = self._device.latency(s.cpu, operation, sample=False)
            found.add(latency, s.clock_step_ns)
            if course is not None:
                course.add(s.cpu, latency)
        if course is not None:
            course.put(self._document.put, timed, order)
        # Each CPU's sample is read when its turn comes: all at once they may be large.
        sample = sampling.merge_samples(
            found.timed,
            found.kept,
            (self._device.latency(cpu, operation).sample for cpu in self._cpus),
            self._options.sample_size,
            self._options.seed,
        )
        recorded.put_latencies(self._document.put, timed, order, found, sample)
        self._check_resolution(timed)

    def _check_clock(self) -> None:
        """Warn, once in a run, of a clock whose reading is much of what it times."""
        judged = [metrics.operations()[_NAMES[each]] for each in ("alloc", "free")]
        document = self._document
        text = clock_step.costly_clock(document.get, document.run, judged, self._order)
        if text is not None and not self._clock_told:
            self._clock_told = True
            self._warn(text)

    def _check_resolution(self, timed: metrics.Timed) -> None:
        """Warn where the clock is too coarse for the median of one class of latencies."""
        document, order = self._document, self._order
        hidden = clock_step.of(document.get, document.run, timed, order)
        if not hidden.hides_part(0.5):
            return
        step = "one step" if hidden.step_ns is None else f"{hidden.step_ns:,} ns, one step"
        plural = _PLURALS[timed.operation]
        self._warn(
            f"order {order}: {hidden.operations:,} of {hidden.timed:,} timed {plural} were "
            f"shorter than {step} of the clock: no more is known of them, nor of their median; "
            "a finer clocksource would tell more"
        )

    def _check_workers(self, stats: Sequence[CpuStats]) -> None:
        """Warn of what must not have happened."""
        allocs, frees = sum(s.allocs for s in stats), sum(s.frees for s in stats)
        recorded.warn_if_lost(self._warn, f"order {self._order}", allocs, frees)
        for s in stats:
            where = f"order {self._order}: the worker of CPU {s.cpu}"
            if s.displaced:
                self._warn(f"{where} stopped early because its CPU went offline")
            elif s.last_cpu != s.cpu:
                self._warn(f"{where} ran on CPU {s.last_cpu}; its figures are not those of its CPU")

    def _bytes(self, blocks: int) -> int:
        return blocks * (procfs.page_size() << self._order)

# SPDX-License-Identifier: GPL-2.0-only
"""Measure the rate of a pattern: case by case, each for a time, --repeat times."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.kernel import cgroup, cpu_lists, perf_events, procfs
from page_alloc_bench.runner.measuring import counting, recorded
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.latencies import Latencies
from page_alloc_bench.runner.module import merged, sampling
from page_alloc_bench.runner.module.abi import CpuStats
from page_alloc_bench.runner.module.device import Latency
from page_alloc_bench.runner.result import clock_step, metrics, rate_metrics, units

from . import CALIBRATION_S, own_cost_s, slices, warm_up_s
from .cases import PART, Measurement, measurements, room_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Made

_POLL_S = 0.25
_OPERATIONS = ("alloc", "free")
_PATHS = {path: path.rpartition("_")[2] for path, *_ in rate_metrics.PATHS}
_COUNTS = ("allocs", "frees", "failures", "remote")
_SHORTFALLS = "shortfalls"


@dataclass
class _Look:
    """What the workers have done so far: time_ns and allocations of all, and of each CPU.

    handed: of the allocations, those that the CPU did not free itself for want of room in a ring.
    """

    time_ns: int
    allocs: int
    handed: int
    each: list[tuple[int, int]]


@dataclass
class _Sums:
    """What has been measured of a case.

    counts: by metric, one per CPU of the run. paths: of the operations, by the path they took.
    """

    counts: dict[str, list[int]]
    latencies: dict[str, Latencies]
    paths: dict[str, merged.Timed]
    rates: list[int] = field(default_factory=list)
    cpu_rates: list[list[int]] = field(default_factory=list)
    durations_ns: list[int] = field(default_factory=list)
    own_cost_ps: list[int] = field(default_factory=list)


class Rates:
    """One run of a workload that measures rates."""

    def __init__(self, bench: Bench, name: str, made: Made) -> None:
        self._bench = bench
        self._options = bench.options
        self._device = bench.device
        self._name = name
        self._made = made
        self._clock_told = self._uncharged_told = self._missing_told = False
        self._cases: list[dict[str, Any]] = []
        self._absent: list[dict[str, Any]] = []

    def run(self) -> None:
        """Measure each order. Raises RunnerError, or a Stop with what is whole in the document."""
        told = self._bench.document.run.setdefault("workloads", [])
        told.append({"name": self._name, "cases": self._cases, "absent": self._absent})
        for order in self._options.alloc_orders:
            with self._bench.phase(self._name, order):
                self._order(order)
            self._bench.case_ended()
        if not self._cases and self._absent:
            self._bench.warn(f"{self._name}: not measured: {self._absent[0]['why']}")
        elif not self._cases:
            raise RunnerError(
                f"{self._name}: no case could be measured in the memory that is available; the "
                "warnings say what each would hold"
            )

    def _order(self, order: int) -> None:
        high = cpu_lists.high_pages(cpu_lists.read(), self._bench.cpus)
        lacking = self._device.lacks(self._made.pattern)
        for measurement in measurements(
            self._options, order, self._made, cpus=self._bench.cpus, high=high
        ):
            room = room_bytes(procfs.meminfo(), accounted=measurement.accounted)
            absent = "this kernel does not have what it calls" if lacking else measurement.absent
            if absent:
                self._absent.append({"case": measurement.case.suffix(), "why": absent})
            elif measurement.held_bytes > room:
                self._bench.warn(
                    f"{self._name}, {measurement.case}: left out: it would hold up to "
                    f"{units.whole_mib(measurement.held_bytes)}, more than 1/{PART} of what is "
                    f"available, which is {units.whole_mib(room)}"
                )
            else:
                self._measure(measurement, high)

    def _measure(self, measurement: Measurement, high: int) -> None:
        """Measure a case; what is whole of it is recorded, however it ends."""
        operations = _OPERATIONS if self._options.latencies != "none" else ()
        options = self._options
        kept = (self._capacity(measurement), options.sample_size, options.seed, self._bench.cpus)
        sums = _Sums(
            counts={name: [0] * len(self._bench.cpus) for name in (*_COUNTS, _SHORTFALLS)},
            latencies={each: Latencies(*kept) for each in operations},
            paths={each: merged.Timed(0) for each in _PATHS if operations},
        )
        self._cases.append(
            {
                "case": measurement.case.suffix(),
                "order": measurement.case.order,
                "parameters": dict(measurement.parameters),
                "gfp": measurement.gfp,
                "cpus": list(measurement.cpus),
                "peers": [measurement.peers.get(cpu, cpu) for cpu in measurement.cpus],
                "held_bytes": measurement.held_bytes,
                "pcp_high_pages": high,
            }
        )
        try:
            for number in range(1, self._options.repeat + 1):
                where = f", {measurement.case}, {number} of {self._options.repeat}"
                self._repetition(measurement, sums, where)
                if self._made.peers:
                    self._own_cost(measurement, sums, where)
            if self._options.counters:
                self._count_events(measurement)
        finally:
            with self._bench.signals.deferred():
                if sums.rates:
                    self._record(measurement, sums)

    def _count_events(self, measurement: Measurement) -> None:
        """Let the kernel and the CPUs count in a pass of its own, which costs what it measures."""
        where = f", {measurement.case}, counters"
        with perf_events.Counters(counting.of_rates(), measurement.cpus) as counters:
            self._start(measurement, where, measurement.parameters, 0)
            self._wait(warm_up_s(self._options), where)
            first_allocs, first = self._both(measurement, counters)
            self._wait(self._options.duration_s, where)
            last_allocs, last = self._both(measurement, counters)
            with self._bench.signals.deferred():
                self._stop(measurement, where)
        counts = {name: last[name] - first[name] for name in first.keys() & last.keys()}
        allocs = last_allocs - first_allocs
        for name, value in counting.figures(counts, allocs, measurement.case.order).items():
            self._bench.document.put(f"{self._name}_{name}", measurement.case, [value])
        if counters.missing and not self._missing_told:
            self._missing_told = True
            self._bench.warn(f"{self._name}: {counters.absent()}")

    def _both(
        self, measurement: Measurement, counters: perf_events.Counters
    ) -> tuple[int, dict[str, int]]:
        """Return how many allocations there were while counters were read, and these."""
        before = self._look(measurement.cpus).allocs
        counts = counters.read()
        return (before + self._look(measurement.cpus).allocs) // 2, counts

    def _capacity(self, measurement: Measurement) -> int:
        return sampling.capacity_per_cpu(self._options.sample_size, len(measurement.cpus))

    def _start(
        self, measurement: Measurement, where: str, parameters: Mapping[str, int], one_in: int
    ) -> None:
        try:
            self._device.configure(
                pattern=self._made.pattern,
                parameters=parameters,
                order=measurement.case.order,
                seed=self._options.seed,
                cpus=measurement.cpus,
                time_one_in=one_in,
                sample_capacity=self._capacity(measurement) if one_in else 0,
                gfp=measurement.gfp_class,
                gfp_modifiers=measurement.gfp_modifiers,
                peers=measurement.peers,
            )
        except OSError as error:
            why = recorded.offline(measurement.cpus) or error.strerror
            raise RunnerError(f"the module cannot prepare {self._name}{where}: {why}") from error
        self._device.start()

    def _own_cost(self, measurement: Measurement, sums: _Sums, where: str) -> None:
        """Measure what handing a block over costs by itself, in CPU time of all workers.

        Where more CPUs allocate than free, their waiting for room has a part in it.
        """
        self._start(measurement, where, {**measurement.parameters, "fake": 1}, 0)
        self._wait(CALIBRATION_S, f"{where}, without blocks")
        first = self._look(measurement.cpus)
        self._wait(own_cost_s(self._options), f"{where}, without blocks")
        last = self._look(measurement.cpus)
        self._stop(measurement, where)
        handed = last.handed - first.handed
        if handed:
            spent_ns = len(measurement.cpus) * (last.time_ns - first.time_ns)
            sums.own_cost_ps.append(round(spent_ns * 1000 / handed))

    def _repetition(self, measurement: Measurement, sums: _Sums, where: str) -> None:
        one_in = sampling.TIME_ONE_IN[self._options.latencies]
        self._start(measurement, where, measurement.parameters, one_in)
        self._wait(warm_up_s(self._options), f"{where}, warm-up")
        first = self._look(measurement.cpus)
        for operation, latencies in sums.latencies.items():
            latencies.course.begin(self._timed(operation, measurement), first.time_ns)
        parts = slices(self._options)
        for number in range(parts):
            self._wait(self._options.duration_s / parts, where)
            if number == parts - 1:
                last = self._look(measurement.cpus)
            for operation, latencies in sums.latencies.items():
                latencies.course.look(self._timed(operation, measurement), time.monotonic_ns())
        with self._bench.signals.deferred():
            stats = self._stop(measurement, where)
            self._add(sums, measurement, first, last, stats)

    def _timed(self, operation: str, measurement: Measurement) -> Iterator[Latency]:
        """Yield what each CPU has timed so far."""
        for cpu in measurement.cpus:
            yield self._device.latency(cpu, operation, sample=False)

    def _stop(self, measurement: Measurement, where: str) -> list[CpuStats]:
        """Return what the workers counted. Raises RunnerError if one of them lost its CPU."""
        self._device.stop()
        stats = [self._device.cpu_stats(cpu) for cpu in measurement.cpus]
        if any(each.displaced for each in stats):
            gone = recorded.offline(measurement.cpus) or "a worker lost its CPU"
            raise RunnerError(f"{self._name}{where}: {gone}")
        return stats

    def _wait(self, seconds: float, text: str) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._bench.reporter.tick(text)
            time.sleep(min(left, _POLL_S))

    def _look(self, cpus: Sequence[int]) -> _Look:
        progress = self._device.progress()
        stats = [(time.monotonic_ns(), self._device.cpu_stats(cpu)) for cpu in cpus]
        handed = progress.allocs - sum(each.shortfalls for _, each in stats)
        each = [(now, of.allocs) for now, of in stats]
        return _Look(progress.time_ns, progress.allocs, handed, each)

    def _add(
        self,
        sums: _Sums,
        measurement: Measurement,
        first: _Look,
        last: _Look,
        stats: Sequence[CpuStats],
    ) -> None:
        """Add what one repetition gave."""
        if measurement.accounted:
            self._check_charged(measurement, stats)
        place = {cpu: index for index, cpu in enumerate(self._bench.cpus)}
        for each in stats:
            for name in sums.counts:
                sums.counts[name][place[each.cpu]] += getattr(each, name)
        duration_ns = last.time_ns - first.time_ns
        sums.durations_ns.append(duration_ns)
        sums.rates.append(_per_second(last.allocs - first.allocs, duration_ns))
        rates = [0] * len(place)
        for cpu, (begin_ns, before), (end_ns, after) in zip(
            measurement.cpus, first.each, last.each
        ):
            rates[place[cpu]] = _per_second(after - before, end_ns - begin_ns)
        sums.cpu_rates.append(rates)
        for operation, latencies in sums.latencies.items():
            of_all = functools.partial(self._device.latency, operation=operation)
            latencies.add(
                ((s.cpu, of_all(s.cpu, sample=False), s.clock_step_ns) for s in stats),
                (of_all(cpu).sample for cpu in measurement.cpus),
            )
        for path, timed in sums.paths.items():
            for s in stats:
                timed.add(self._device.latency(s.cpu, path, sample=False), s.clock_step_ns)
        self._bench.document.run["clocks"] = recorded.clocks(stats)

    def _check_charged(self, measurement: Measurement, stats: Sequence[CpuStats]) -> None:
        """Record whether the pages were charged to a cgroup, and warn once if they were not."""
        charged = all(each.charged for each in stats)
        if not charged and not self._uncharged_told:
            self._uncharged_told = True
            group = cgroup.own()
            if group is not None and group.directory != group.top:
                why = (
                    "the kernel does not account for its own memory (booted with "
                    "cgroup.memory=nokmem?): boot it without that, or leave out account"
                )
            else:
                why = (
                    "this process is in no memory cgroup but the topmost. Start it in one: "
                    "systemd-run --scope -p MemoryAccounting=yes ./bench.run"
                )
            self._bench.warn(f"{self._name}, gfp {measurement.gfp}: nothing was charged: {why}")
        self._cases[-1]["charged"] = charged

    def _record(self, measurement: Measurement, sums: _Sums) -> None:
        case, put = measurement.case, self._bench.document.put
        for name, metric in (
            ("allocs", "allocs"),
            ("frees", "frees"),
            ("failures", "alloc_failures"),
            ("remote", "allocs_remote"),
        ):
            put(f"{self._name}_{metric}", case, [sum(sums.counts[name])])
            put(f"{self._name}_{metric}_per_cpu", case, sums.counts[name])
        if self._made.shortfall:
            put(f"{self._name}_{self._made.shortfall}", case, [sum(sums.counts[_SHORTFALLS])])
        if sums.own_cost_ps:
            put(f"{self._name}_ring_cost_ps", case, sums.own_cost_ps)
        put(f"{self._name}_allocs_per_second", case, sums.rates)
        mean = [round(sum(each) / len(each)) for each in zip(*sums.cpu_rates)]
        put(f"{self._name}_allocs_per_second_per_cpu", case, mean)
        put(f"{self._name}_duration_ns", case, sums.durations_ns)
        for operation, latencies in sums.latencies.items():
            timed = metrics.operations()[f"{self._name}_{operation}"]
            latencies.put(put, timed, case)
        self._record_paths(case, sums)
        allocs, frees = sum(sums.counts["allocs"]), sum(sums.counts["frees"])
        recorded.warn_if_lost(self._bench.warn, f"{self._name}, {case}", allocs, frees)
        self._check_clock(measurement)

    def _record_paths(self, case: Any, sums: _Sums) -> None:
        """Record which part of the operations took each path, and what refills cost all."""
        put = self._bench.document.put
        for path, found in sums.paths.items():
            timed = metrics.operations()[f"{self._name}_{path}"]
            whole = sum(sums.latencies[_PATHS[path]].found.timed)
            part = sum(found.timed)
            if whole:
                put(f"{timed.operation}_ppm", case, [round(part * 1_000_000 / whole)])
                if path == "refill_alloc":
                    cost = round(found.total_ns * 1000 / whole)
                    put(f"{self._name}_refill_cost_ps", case, [cost])
            if part:
                recorded.put_timed(put, timed, case, found)

    def _check_clock(self, measurement: Measurement) -> None:
        """Warn, once in a run, of a clock whose reading is much of what it times."""
        document = self._bench.document
        judged = [metrics.operations()[f"{self._name}_{each}"] for each in _OPERATIONS]
        text = clock_step.costly_clock(document.get, document.run, judged, measurement.case)
        if text is not None and not self._clock_told:
            self._clock_told = True
            self._bench.warn(f"{self._name}, {text}")


def _per_second(count: int, duration_ns: int) -> int:
    return round(count * 1e9 / duration_ns) if duration_ns > 0 else 0

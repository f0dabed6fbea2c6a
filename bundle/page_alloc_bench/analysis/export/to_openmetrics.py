# SPDX-License-Identifier: GPL-2.0-only
"""Results as OpenMetrics text, each run with its own time, so that a database can backfill it.

Base units: bytes and seconds. Latencies are histograms of all timed operations; the samples are
left out, being part of the same.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition
from prometheus_client.registry import Collector

from page_alloc_bench.analysis import tidy
from page_alloc_bench.analysis.facts import CHIEF, column, text
from page_alloc_bench.analysis.results import Metric
from page_alloc_bench.runner.result import document as runner
from page_alloc_bench.runner.result import histogram

PREFIX = "page_alloc_bench_"
_HISTOGRAM = "_latency_histogram"
_PER_CPU = "_per_cpu"
# What the histograms say already.
_LEFT_OUT = ("_latencies_ns", f"{_HISTOGRAM}_bounds_ns", "_latency_sum_ns", "_timed")
_PER_ITERATION = ("idle_", "antagonized_", "antagonist_held_")
_NO_UPPER_END_NS = histogram.bucket_floor(histogram.HIST_BUCKETS)
_NS = 1e9
_INFO = (*CHIEF, "kernel.version", "kernel.machine", "kernel.config.sha256", "tool_version")


def export(runs: Sequence[tidy.Run], stream: TextIO) -> None:
    """Write every run to stream."""
    registry = CollectorRegistry()
    registry.register(_Runs(runs))
    text: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
    stream.write(text.decode())


class _Runs(Collector):
    """Yields a family for each metric, with the series of all runs together."""

    def __init__(self, runs: Sequence[tidy.Run]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Family]:
        """Yield the families: what is known of each run first."""
        yield self._info()
        yield self._complete()
        names = dict.fromkeys(name for run in self._runs for name, _ in run.result.metrics)
        for name in names:
            if name.endswith(_HISTOGRAM):
                yield self._histogram(name)
            elif not name.endswith(_LEFT_OUT):
                yield self._values(name)

    def _info(self) -> Family:
        family = InfoMetricFamily(f"{PREFIX}run", "What is known of a run.", labels=["run"])
        for run in self._runs:
            facts = {column(name): text(run.facts[name]) for name in _INFO if name in run.facts}
            family.add_metric([run.id], facts, timestamp=_time(run))
        return family

    def _complete(self) -> Family:
        family = GaugeMetricFamily(
            f"{PREFIX}run_complete", "1 if all that was asked for was measured.", labels=["run"]
        )
        for run in self._runs:
            family.add_metric([run.id], int(run.result.run["complete"]), timestamp=_time(run))
        return family

    def _of(self, name: str) -> Iterator[tuple[tidy.Run, Metric]]:
        for run in self._runs:
            for metric in run.result.metrics.values():
                if metric.name == name:
                    yield run, metric

    def _values(self, name: str) -> Family:
        """Return the values of a metric: amounts and rates as gauges, counts as counters."""
        base, unit, scale = _base_unit(name)
        kind = CounterMetricFamily if _is_count(name) else GaugeMetricFamily
        index = _index_label(name, [metric for _, metric in self._of(name)])
        labels = ["run", "alloc_order", *([index] if index else [])]
        family = kind(f"{PREFIX}{base}", _help(name), labels=labels, unit=unit)
        for run, metric in self._of(name):
            places = _places(run, metric) if index == "cpu" else range(1, metric.values.size + 1)
            for place, value in zip(places, metric.values.tolist(), strict=True):
                which = [run.id, str(metric.order), *([str(place)] if index else [])]
                family.add_metric(
                    which, value / scale if scale != 1 else value, timestamp=_time(run)
                )
        return family

    def _histogram(self, name: str) -> Family:
        base = name.removesuffix("_histogram")
        family = HistogramMetricFamily(
            f"{PREFIX}{base}", _help(name), labels=["run", "alloc_order"], unit="seconds"
        )
        for run, metric in self._of(name):
            total = run.result.values(f"{base}_sum_ns", metric.order)
            family.add_metric(
                [run.id, str(metric.order)],
                _buckets(run, metric, base),
                float(total[0]) / _NS if total.size else None,
                timestamp=_time(run),
            )
        return family


def _buckets(run: tidy.Run, metric: Metric, base: str) -> list[tuple[str, float]]:
    """Return (le, how many are at most this), the last being +Inf.

    Ours count up to, but not including, the next bound, and latencies are whole nanoseconds.
    """
    bounds = run.result.values(f"{base}_histogram_bounds_ns", metric.order)
    buckets = [
        (repr((bound - 1) / _NS), count)
        for bound, count in zip(bounds[1:].tolist(), metric.values.cumsum().tolist(), strict=True)
        if bound < _NO_UPPER_END_NS
    ]
    return [*buckets, ("+Inf", int(metric.values.sum()))]


def _base_unit(name: str) -> tuple[str, str, float]:
    """Return the name without its unit, the base unit, and how many of ours it is."""
    if name.endswith("_ns"):
        return name.removesuffix("_ns"), "seconds", _NS
    if name.endswith("_bytes"):
        return name.removesuffix("_bytes"), "bytes", 1
    return name, "", 1


def _is_count(name: str) -> bool:
    return not name.endswith(("_ns", "_bytes", "_per_second"))


def _index_label(name: str, metrics: Sequence[Metric]) -> str:
    """Return what tells the values of one metric apart; empty if there is but one."""
    if name.endswith(_PER_CPU):
        return "cpu"
    if name.startswith(_PER_ITERATION):
        return "iteration"
    return "sample" if any(metric.values.size > 1 for metric in metrics) else ""


def _places(run: tidy.Run, metric: Metric) -> Sequence[int]:
    """Return the CPU of each value; their places where the result does not tell the CPUs."""
    cpus: list[int] = run.result.run.get("cpus", [])
    return cpus if len(cpus) == metric.values.size else range(metric.values.size)


def _help(name: str) -> str:
    return str(_about().get(name, {}).get("description", name))


@functools.cache
def _about() -> dict[str, dict[str, Any]]:
    return runner.metrics(runner.schema())


def _time(run: tidy.Run) -> float | None:
    started = run.result.run.get("started_at")
    return started and datetime.datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()

# SPDX-License-Identifier: GPL-2.0-only
"""Results as OpenMetrics text, each run with its own time, so that a database can backfill it.

Base units: bytes and seconds. Latencies are histograms of all timed operations; the samples are
left out, being part of the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

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
from page_alloc_bench.analysis.results import Measured
from page_alloc_bench.runner.result import histogram
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Kind, Metric, declared, operations

PREFIX = "page_alloc_bench_"
# What the histograms say already.
_LEFT_OUT = (Kind.SAMPLE, Kind.EDGES, Kind.SUM, Kind.TIMED)
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
        for metric in map(declared, names):
            if metric.kind is Kind.HISTOGRAM:
                yield self._histogram(metric)
            elif metric.kind not in _LEFT_OUT:
                yield self._values(metric)

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

    def _of(self, metric: Metric) -> Iterator[tuple[tidy.Run, Measured]]:
        for run in self._runs:
            for measured in run.result.metrics.values():
                if measured.metric is metric:
                    yield run, measured

    def _values(self, metric: Metric) -> Family:
        """Return the values of a metric: amounts and rates as gauges, counts as counters."""
        base, unit, scale = _base_unit(metric)
        kind = CounterMetricFamily if metric.is_count else GaugeMetricFamily
        found = list(self._of(metric))
        index = _index_label(metric, [measured for _, measured in found])
        axes = _axes(measured.case for _, measured in found)
        labels = ["run", "alloc_order", *axes, *([index] if index else [])]
        family = kind(f"{PREFIX}{base}", metric.description, labels=labels, unit=unit)
        for run, measured in found:
            size = measured.values.size
            places = _places(run, measured) if index == "cpu" else range(1, size + 1)
            for place, value in zip(places, measured.values.tolist(), strict=True):
                which = [*_which(run, measured.case, axes), *([str(place)] if index else [])]
                family.add_metric(
                    which, value / scale if scale != 1 else value, timestamp=_time(run)
                )
        return family

    def _histogram(self, metric: Metric) -> Family:
        timed, found = operations()[metric.operation], list(self._of(metric))
        axes = _axes(measured.case for _, measured in found)
        family = HistogramMetricFamily(
            f"{PREFIX}{metric.name.removesuffix(f'_{metric.kind.value}')}",
            metric.description,
            labels=["run", "alloc_order", *axes],
            unit="seconds",
        )
        for run, measured in found:
            total = run.result.values(timed.total.name, measured.case)
            family.add_metric(
                _which(run, measured.case, axes),
                _buckets(measured, run.result.counts(timed.edges.name, measured.case)),
                float(total[0]) / _NS if total.size else None,
                timestamp=_time(run),
            )
        return family


def _axes(cases: Iterable[Case]) -> list[str]:
    """Return the axes that anything was chosen on in one of the cases."""
    return sorted({axis for case in cases for axis, _ in case.chosen})


def _which(run: tidy.Run, case: Case, axes: Sequence[str]) -> list[str]:
    """Return the labels that tell a case of a run."""
    chosen = dict(case.chosen)
    return [run.id, str(case.order), *(chosen.get(axis, "") for axis in axes)]


def _buckets(measured: Measured, edges: Sequence[int]) -> list[tuple[str, float]]:
    """Return (le, how many are at most this), the last being +Inf.

    Ours count up to, but not including, the next edge, and latencies are whole nanoseconds.
    """
    buckets = [
        (repr((edge - 1) / _NS), count)
        for edge, count in zip(edges[1:], measured.values.cumsum().tolist(), strict=True)
        if edge < _NO_UPPER_END_NS
    ]
    return [*buckets, ("+Inf", int(measured.values.sum()))]


def _base_unit(metric: Metric) -> tuple[str, str, float]:
    """Return the name without its unit, the base unit, and how many of ours it is."""
    if metric.unit == "ns":
        return metric.name.removesuffix(f"_{metric.unit}"), "seconds", _NS
    if metric.unit == "bytes":
        return metric.name.removesuffix(f"_{metric.unit}"), "bytes", 1
    return metric.name, "", 1


def _index_label(metric: Metric, found: Sequence[Measured]) -> str:
    """Return what tells the values of one metric apart; empty if there is but one."""
    if metric.per != "case":
        return metric.per
    return "sample" if any(measured.values.size > 1 for measured in found) else ""


def _places(run: tidy.Run, measured: Measured) -> Sequence[int]:
    """Return the CPU of each value; their places where the result does not tell the CPUs."""
    cpus: list[int] = run.result.run.get("cpus", [])
    size = measured.values.size
    return cpus if len(cpus) == size else range(size)


def _time(run: tidy.Run) -> float | None:
    started = run.result.run.get("started_at")
    return started and datetime.datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()

# SPDX-License-Identifier: GPL-2.0-only
"""The table at the end of a run, for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import resolution
from .resolution import Hidden
from .result import Document, split_key

WIDTH = 100

# Rows of the table, in its order, and what they are called there.
_ROWS = (
    ("idle_available_bytes", "idle memory"),
    ("antagonized_available_bytes", "antagonized memory"),
    ("antagonist_held_bytes", "antagonist holds"),
    ("kernel_page_alloc_latencies_ns", "allocation"),
    ("kernel_page_free_latencies_ns", "free"),
    ("kernel_alloc_failure_latencies_ns", "failed allocation"),
)
_HEADER = ("samples", "min", "mean", "median", "p95", "p99", "p99.9", "max")

# The rows of one kind share a unit; units from small to large: name, size in the metric's own.
_UNITS = {
    "bytes": (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)),
    "ns": (("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)),
}
_LONGEST = 99_999.5  # of bytes; above that, a larger unit reads better


@dataclass(frozen=True)
class Statistics:
    """What is told of one metric, in its own unit."""

    samples: int
    least: float
    mean: float
    median: float
    p95: float
    p99: float
    p999: float
    largest: float


def statistics(values: Sequence[int], largest: int | None = None) -> Statistics:
    """Return the statistics of values; largest: the known maximum, if values are but a sample.

    Raises ValueError if there are no values.
    """
    if not values:
        raise ValueError("no values, no statistics")
    ordered = sorted(values)
    return Statistics(
        samples=len(ordered),
        least=ordered[0],
        mean=sum(ordered) / len(ordered),
        median=(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2,
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        p999=percentile(ordered, 99.9),
        largest=ordered[-1] if largest is None else largest,
    )


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Return the smallest of the ordered values that percent of them do not exceed."""
    rank = math.ceil(round(len(ordered) * percent / 100, 6))
    return ordered[max(rank, 1) - 1]


def of_metric(document: Document, name: str, order: int) -> Statistics | None:
    """Return the statistics of a metric, with the exact maximum; None if it was not measured."""
    values = document.get(name, order)
    return statistics(values, _maximum(document, name, order)) if values else None


def render(document: Document) -> str:
    """Return the summary of a run, at most WIDTH columns wide: table, rates, warnings."""
    run = document.run
    lines = heading(run)
    for order in orders(document):
        lines += ["", *of_order(document, order)]
    if run["warnings"]:
        lines += ["", *warnings(run["warnings"])]
    if not run["complete"]:
        lines += ["", *not_complete(run)]
    return "\n".join(lines)


def orders(document: Document) -> list[int]:
    """Return the orders that anything was measured in, ascending."""
    return sorted({split_key(name)[1] for name in document.metrics})


def of_order(document: Document, order: int) -> list[str]:
    """Return the table of one order, and what it cannot say."""
    return [
        f"order {order} ({_block(document.run, order)} a block)",
        *_table(document, order),
        *_remarks(document, order),
    ]


def not_complete(run: dict[str, Any]) -> list[str]:
    """Return why a run is not complete."""
    return _wrap(f"NOT COMPLETE: {run['ended']['reason']}", "  ")


def heading(run: dict[str, Any]) -> list[str]:
    """Return what was measured on, after an empty line."""
    kernel, machine = run["kernel"], run["machine"]
    return [
        "",
        f"kernel {kernel['release']}, CPUs {_short(machine['cpus_used'])}, "
        f"{len(machine['nodes'])} node(s), {machine['memory_bytes'] / (1 << 30):,.2f} GiB",
    ]


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:27] + "..."


def _block(run: dict[str, Any], order: int) -> str:
    return f"{(run['kernel']['page_size_bytes'] << order) >> 10:,} KiB"


@dataclass(frozen=True)
class _Row:
    """A row of the table. hidden: latencies below the clock's step; None for what is no latency."""

    metric: str
    label: str
    stats: Statistics
    hidden: Hidden | None
    mean_hidden: bool


def _rows(document: Document, order: int) -> Iterator[_Row]:
    for name, label in _ROWS:
        stats = of_metric(document, name, order)
        if stats is None:
            continue
        hidden = resolution.of(document.get, document.run, name, order)
        no_mean = hidden is not None and hidden.hides_mean(document.get(name, order))
        yield _Row(name, label, stats, hidden, no_mean)


def _table(document: Document, order: int) -> list[str]:
    """Return the table of one order, in the smallest units that fit."""
    rows = list(_rows(document, order))
    units = {"bytes": _unit_of_bytes(rows), "ns": 0}
    lines = _layout(rows, units)
    while max(map(len, lines)) > WIDTH and units["ns"] + 1 < len(_UNITS["ns"]):
        units["ns"] += 1
        lines = _layout(rows, units)
    return lines


def _unit_of_bytes(rows: Sequence[_Row]) -> int:
    """Return the index of the smallest unit in which no amount of memory gets long."""
    sizes = (row.stats.largest for row in rows if row.metric.endswith("_bytes"))
    largest = max(sizes, default=0)
    units = _UNITS["bytes"]
    fitting = (i for i, (_, size) in enumerate(units) if largest / size < _LONGEST)
    return next(fitting, len(units) - 1)


def _layout(rows: Sequence[_Row], units: dict[str, int]) -> list[str]:
    """Return the lines of a table, its columns as wide as they need to be."""
    table = [("", *_HEADER), *(_cells(row, units) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        "  ".join(
            cell.rjust(width) if column else "  " + cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        )
        for line in table
    ]


def _maximum(document: Document, name: str, order: int) -> int | None:
    """Return the exact maximum over all timed operations; the sample may not contain it."""
    exact = document.get(name.replace("latencies_ns", "latency_max_ns"), order)
    return exact[0] if name.endswith("latencies_ns") and exact else None


def _cells(row: _Row, units: dict[str, int]) -> tuple[str, ...]:
    base = row.metric.rsplit("_", 1)[1]
    unit, size = _UNITS[base][units[base]]
    stats, hidden = row.stats, row.hidden

    def cell(value: float, known: bool | None = None) -> str:
        if known is None:
            known = hidden is None or not hidden.hides(value)
        if known or hidden is None:
            return number(value / size, unit)
        return "<?" if hidden.step_ns is None else f"<{number(hidden.step_ns / size, unit)}"

    return (
        f"{row.label}, {unit}",
        f"{stats.samples:,}",
        cell(stats.least),
        cell(stats.mean, not row.mean_hidden),
        *map(cell, (stats.median, stats.p95, stats.p99, stats.p999, stats.largest)),
    )


def number(value: float, unit: str) -> str:
    """Return value with as many decimals as can matter: none of nanoseconds, few of the large."""
    if unit == "ns" or value >= 10_000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _remarks(document: Document, order: int) -> list[str]:
    """Return what the table cannot say: rates, counts, and the memory that is unaccounted for."""
    lines = [
        _loss(document, order),
        _rate(document, order),
        _failures(document, order),
        _timing(document, order),
    ]
    return [f"  {line}" for line in lines if line]


def _loss(document: Document, order: int) -> str:
    """Return idle - antagonized - held, of the means."""
    means = [
        statistics(values).mean for name, _ in _ROWS[:3] if (values := document.get(name, order))
    ]
    if len(means) < 3:
        return ""
    difference = (means[0] - means[1] - means[2]) / (1 << 20)
    return f"memory: idle - antagonized - what the antagonist holds = {difference:,.1f} MiB (means)"


def _rate(document: Document, order: int) -> str:
    rates = document.get("kernel_page_allocs_per_second", order)
    if not rates:
        return ""
    cpus = len(document.get("kernel_page_allocs_per_cpu", order))
    allocs = document.get("kernel_page_allocs", order)[0]
    remote = document.get("kernel_page_allocs_remote", order)[0]
    share = 100 * remote / allocs if allocs else 0.0
    return (
        f"{rates[0] / cpus:,.0f} allocations/s per CPU, {rates[0]:,} on {cpus} CPUs; "
        f"{allocs:,} in all, {share:.2f} % remote"
    )


def _failures(document: Document, order: int) -> str:
    failures = document.get("kernel_alloc_failures", order)
    return f"{failures[0]:,} allocations failed" if failures and failures[0] else ""


def _timing(document: Document, order: int) -> str:
    """Return how many operations were timed and what timing them cost."""
    timed = document.get("kernel_page_allocs_timed", order)
    if not timed:
        return ""
    costs = resolution.clock_costs_ns(document.run)
    allocs = document.get("kernel_page_allocs", order)[0]
    cost = f"; a clock read costs {min(costs):,.1f}-{max(costs):,.1f} ns" if costs else ""
    return f"timed {timed[0]:,} of {allocs:,} allocations{cost}"


def warnings(texts: Sequence[str]) -> list[str]:
    """Return the warnings, each once."""
    lines = []
    for text in dict.fromkeys(texts):
        times = texts.count(text)
        lines += _wrap(f"warning: {text}" + (f" ({times} times)" if times > 1 else ""), "  ")
    return lines


def _wrap(text: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH, subsequent_indent=indent)

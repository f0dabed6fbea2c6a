# SPDX-License-Identifier: GPL-2.0-only
"""The table at the end of a run, for people."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import clock_step, columns
from .clock_step import Hidden
from .document import Document, split_key

WIDTH = 100  # at most: more makes a row hard to follow

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
# What a narrow table does without, the first to go first. The median stays.
_DROPPED_FIRST = ("p95", "min", "samples", "p99", "mean", "p99.9", "max")
# The fewest values of which one at least lies beyond a percentile.
_LEAST_SAMPLES = {"median": 3, "p95": 20, "p99": 100, "p99.9": 1000}
_NONE = "-"  # of too few values
_OF_ALL = "*"  # a maximum of more operations than the rest of its row

# The rows of one kind share a unit; units from small to large: name, size in the metric's own.
_UNITS = {
    "bytes": (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)),
    "ns": (("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)),
}
_ENOUGH = 3  # values, for their variance to be worth anything
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


def holds(figure: str, samples: int) -> bool:
    """Return whether so many samples have such a figure, as the header names it: median, p99, …"""
    return samples >= _LEAST_SAMPLES.get(figure, 1)


def statistics(values: Sequence[int], largest: int | None = None) -> Statistics:
    """Return the statistics of values; largest: the known maximum, if values are but a sample.

    holds() says if they are enough for a percentile. Raises ValueError if there are no values.
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


def render(document: Document, width: int = columns.USUAL, told: Collection[str] = ()) -> str:
    """Return the summary of a run: table, rates, warnings.

    width: columns, of which columns.LEAST to WIDTH are used. told: warnings that the reader has
    had.
    """
    width = min(max(width, columns.LEAST), WIDTH)
    run = document.run
    lines = heading(run, width)
    for order in orders(document):
        lines += ["", *of_order(document, order, width)]
    new = [text for text in run["warnings"] if text not in told]
    if new:
        lines += ["", *warnings(new, width)]
    above = len({text for text in run["warnings"] if text in told})
    if above:
        lines += [
            "",
            *columns.wrap(f"{above} warning(s) above, and in the result: run.warnings", width, ""),
        ]
    if not run["complete"]:
        lines += ["", *not_complete(run, width)]
    return "\n".join(lines)


def orders(document: Document) -> list[int]:
    """Return the orders that anything was measured in, ascending."""
    return sorted({split_key(name)[1] for name in document.metrics})


def of_order(document: Document, order: int, width: int = WIDTH) -> list[str]:
    """Return the table of one order, and what it cannot say."""
    return [
        f"order {order} ({_block(document.run, order)} a block)",
        *_table(document, order, width),
        *_remarks(document, order, width),
    ]


def not_complete(run: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return why a run is not complete."""
    return columns.wrap(f"NOT COMPLETE: {run['ended']['reason']}", width, "  ")


def heading(run: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return what was measured on, after an empty line."""
    kernel, machine = run["kernel"], run["machine"]
    text = (
        f"kernel {kernel['release']}, CPUs {_short(machine['cpus_used'])}, "
        f"{len(machine['nodes'])} node(s), {machine['memory_bytes'] / (1 << 30):,.2f} GiB"
    )
    return ["", *columns.wrap(text, width, "  ")]


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:27] + "..."


def _block(run: dict[str, Any], order: int) -> str:
    return f"{(run['kernel']['page_size_bytes'] << order) >> 10:,} KiB"


@dataclass(frozen=True)
class _Row:
    """A row of the table.

    hidden: latencies below the clock's step; None for what is no latency. of_all: the maximum is of
    more operations than the samples.
    """

    metric: str
    label: str
    stats: Statistics
    hidden: Hidden | None
    mean_hidden: bool
    of_all: bool


def _rows(document: Document, order: int) -> Iterator[_Row]:
    for name, label in _ROWS:
        stats = of_metric(document, name, order)
        if stats is None:
            continue
        hidden = clock_step.of(document.get, document.run, name, order)
        no_mean = hidden is not None and hidden.hides_mean(document.get(name, order))
        yield _Row(
            name, label, stats, hidden, no_mean, _timed(document, name, order) > stats.samples
        )


def _timed(document: Document, name: str, order: int) -> int:
    """Return how many operations the maximum of a metric is of, 0 if that is of its values."""
    timed = document.get(name.replace("_latencies_ns", "s_timed"), order)
    return timed[0] if name.endswith("_latencies_ns") and timed else 0


def _table(document: Document, order: int, width: int) -> list[str]:
    """Return the table of one order, in the smallest units that fit.

    Where none does, columns are left out: a number that is cut is another number.
    """
    rows = list(_rows(document, order))
    shown = list(_HEADER)
    for dropped in (None, *_DROPPED_FIRST):
        shown = [name for name in shown if name != dropped]
        units = {"bytes": _unit_of_bytes(rows), "ns": 0}
        lines = _layout(rows, units, shown)
        while max(map(len, lines)) > width and units["ns"] + 1 < len(_UNITS["ns"]):
            units["ns"] += 1
            lines = _layout(rows, units, shown)
        if max(map(len, lines)) <= width:
            break
    marked = "max" in shown and any(row.of_all for row in rows)
    note = columns.wrap(
        f"{_OF_ALL} of all that were timed, not of the samples only", width, "    ", first="  "
    )
    return [*lines, *(note if marked else [])]


def _unit_of_bytes(rows: Sequence[_Row]) -> int:
    """Return the index of the smallest unit in which no amount of memory gets long."""
    sizes = (row.stats.largest for row in rows if row.metric.endswith("_bytes"))
    largest = max(sizes, default=0)
    units = _UNITS["bytes"]
    fitting = (i for i, (_, size) in enumerate(units) if largest / size < _LONGEST)
    return next(fitting, len(units) - 1)


def _layout(rows: Sequence[_Row], units: dict[str, int], shown: Sequence[str]) -> list[str]:
    """Return the lines of a table, its columns as wide as they need to be."""
    cells = [_cells(row, units) for row in rows]
    table = [("", *shown), *((row["label"], *(row[name] for name in shown)) for row in cells)]
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


def _cells(row: _Row, units: dict[str, int]) -> dict[str, str]:
    """Return the text of each figure of a row by the name of its column, and the row's label."""
    base = row.metric.rsplit("_", 1)[1]
    unit, size = _UNITS[base][units[base]]
    stats, hidden = row.stats, row.hidden

    def cell(value: float, known: bool | None = None) -> str:
        if known is None:
            known = hidden is None or not hidden.hides(value)
        if known or hidden is None:
            return number(value / size, unit)
        return "<?" if hidden.step_ns is None else f"<{number(hidden.step_ns / size, unit)}"

    cells = {
        "label": f"{row.label}, {unit}",
        "samples": f"{stats.samples:,}",
        "min": cell(stats.least),
        "mean": cell(stats.mean, not row.mean_hidden),
        "median": cell(stats.median),
        "p95": cell(stats.p95),
        "p99": cell(stats.p99),
        "p99.9": cell(stats.p999),
        "max": cell(stats.largest) + _OF_ALL * row.of_all,
    }
    few = {name: _NONE for name in _LEAST_SAMPLES if not holds(name, stats.samples)}
    return {**cells, **few}


def number(value: float, unit: str) -> str:
    """Return value with as many decimals as can matter: none of nanoseconds, few of the large."""
    if unit == "ns" or value >= 10_000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _remarks(document: Document, order: int, width: int) -> list[str]:
    """Return what the table cannot say: rates, counts, and the memory that is unaccounted for."""
    lines = [
        _loss(document, order),
        _rate(document, order),
        _failures(document, order),
        _timing(document, order),
    ]
    return [row for line in lines if line for row in columns.wrap(line, width, "    ", first="  ")]


def _loss(document: Document, order: int) -> str:
    """Return idle - antagonized - held, of the means, and how sure that is."""
    idle, antagonized, held = (document.get(name, order) for name, _ in _ROWS[:3])
    if not idle or not antagonized or not held:
        return ""
    # What is held is missing from what the child gets in the same iteration: the two go together.
    beside = [a + h for a, h in zip(antagonized, held)] if len(antagonized) == len(held) else []
    loss = _mean(idle) - _mean(antagonized) - _mean(held)
    text = "memory: idle - antagonized - what the antagonist holds"
    if min(len(idle), len(beside)) < _ENOUGH:
        return f"{text} = {_mib(loss)} MiB (means; too few iterations to tell how sure that is)"
    error = 2 * math.sqrt(sum(_variance(values) / len(values) for values in (idle, beside)))
    noise = ": no more than the iterations differ by" if abs(loss) <= error else ""
    return f"{text} = {_mib(loss)} +/- {_mib(error)} MiB (means, two standard errors){noise}"


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / (1 << 20):,.1f}"


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def _variance(values: Sequence[int]) -> float:
    mean = _mean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


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
    costs = clock_step.clock_costs_ns(document.run)
    allocs = document.get("kernel_page_allocs", order)[0]
    cost = f"; a clock read costs {min(costs):,.1f}-{max(costs):,.1f} ns" if costs else ""
    return f"timed {timed[0]:,} of {allocs:,} allocations{cost}"


def warnings(texts: Sequence[str], width: int = WIDTH) -> list[str]:
    """Return the warnings, each once."""
    lines = []
    for text in dict.fromkeys(texts):
        times = texts.count(text)
        lines += columns.wrap(
            f"warning: {text}" + (f" ({times} times)" if times > 1 else ""), width, "  "
        )
    return lines

# SPDX-License-Identifier: GPL-2.0-only
"""A result as text: what was measured, in tables and in histograms of the latencies."""

from __future__ import annotations

import math
import textwrap
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from page_alloc_bench.runner.result import clock_step, names, summary
from page_alloc_bench.runner.result import document as runner
from page_alloc_bench.runner.result.clock_step import Hidden

from . import facts
from .results import Metric, Result, ResultError

LEAST_WIDTH = 72
MOST_WIDTH = summary.WIDTH

# What a histogram is of, and what it is called above its bars.
_HISTOGRAMS = (("kernel_page_alloc_latency", "allocation"), ("kernel_page_free_latency", "free"))
_LABEL = 8  # columns: "1.05 ms"
_COUNT = 12  # columns: "123,456,789"
_FEW = 16  # values that are shown one by one

Kind = Literal["plain", "heading", "warning", "alarm"]


@dataclass(frozen=True)
class Line:
    """A line without its end, and what it is, for a terminal with colours."""

    text: str
    kind: Kind = "plain"


def overview(result: Result, width: int = LEAST_WIDTH, bar: str = "█") -> list[Line]:
    """Return the result in lines: what casts doubt on it first. width: columns that bars may take.

    bar: the character that they are made of. Raises ResultError for a result that lacks facts.
    """
    try:
        return list(_overview(result, min(max(width, LEAST_WIDTH), MOST_WIDTH), bar))
    except KeyError as error:
        raise ResultError(result.path, f"has no {error} where there should be one") from error


def metric_text(result: Result, metric: Metric) -> list[str]:
    """Return the figures of a metric of a result in lines."""
    hidden = _hidden(result, metric)
    unit = f" {metric.unit}" if metric.unit else ""
    good = f", {metric.better} is better" if metric.better else ""
    values = metric.values.tolist()
    plural = "" if len(values) == 1 else "s"
    lines = [
        f"{runner.key(metric.name, metric.order)}: {len(values):,} value{plural},{unit}{good}"
        if unit or good
        else f"{runner.key(metric.name, metric.order)}: {len(values):,} value{plural}"
    ]
    if len(values) > 1:
        figures = [
            f"{name} {number:.12g}" if hidden is None else f"{name} {hidden.text(number)}"
            for name, number in _figures(values).items()
        ]
        lines += textwrap.wrap(", ".join(figures), LEAST_WIDTH, **_INDENT)
    if len(values) <= _FEW:
        lines += textwrap.wrap(" ".join(map(str, values)), LEAST_WIDTH, **_INDENT)
    else:
        lines.append(f"  (--json has all {len(values):,} values)")
    return lines


_INDENT: Any = {"initial_indent": "  ", "subsequent_indent": "  "}


def metric_json(result: Result, metric: Metric) -> dict[str, Any]:
    """Return a metric of a result as JSON can have it.

    below: the figures of which is known only that they are less than what stands there.
    """
    values = metric.values.tolist()
    hidden = _hidden(result, metric)
    figures = _figures(values) if values else {}
    below = {
        n: hidden.step_ns for n, v in figures.items() if hidden is not None and hidden.hides(v)
    }
    return {
        "metric": metric.name,
        "order": metric.order,
        "unit": metric.unit,
        "better": metric.better or "neither",
        "n": len(values),
        **figures,
        **({"below": below} if below else {}),
        "values": values,
    }


def _hidden(result: Result, metric: Metric) -> Hidden | None:
    return clock_step.of(result.counts, result.run, metric.name, metric.order)


def find_metrics(result: Result, name: str) -> list[Metric]:
    """Return the metrics of this name: NAME_order$n, or NAME for those of all orders.

    Raises ResultError if there is none.
    """
    found = [
        metric
        for metric in result.metrics.values()
        if name in (metric.name, runner.key(metric.name, metric.order))
    ]
    if not found:
        known = dict.fromkeys(metric.name for metric in result.metrics.values())
        raise ResultError(result.path, f"has no metric {name}. {names.instead_of(name, known)}")
    return found


def facts_text(result: Result) -> list[str]:
    """Return what is known of the run, a fact a line."""
    known = facts.flatten(result.run)
    width = max(map(len, known))
    return [f"{name:<{width}}  {facts.text(value)}" for name, value in known.items()]


def _overview(result: Result, width: int, bar: str) -> Iterator[Line]:
    document = _document(result)
    run = document.run
    if not run["complete"]:
        yield from (Line(text, "alarm") for text in summary.not_complete(run, width))
    yield from (Line(text, "warning") for text in summary.warnings(run["warnings"], width))
    started = run.get("started_at", "an unknown time")
    yield Line(str(result.path))
    yield Line(f"started {started}, page-alloc-bench {run['tool_version']}")
    yield from (Line(text, "heading") for text in summary.heading(run, width) if text)
    for order in summary.orders(document):
        first, *rest = summary.of_order(document, order, width)
        yield Line("")
        yield Line(first, "heading")
        yield from (Line(text) for text in rest)
        yield Line("")
        yield from (Line(text) for text in _histograms(result, order, width, bar))


def _document(result: Result) -> runner.Document:
    """Return the result as the runner has it."""
    document = runner.Document(result.run)
    if not result.run["complete"]:
        document.run["ended"] = {"reason": "no reason is given", **result.run.get("ended", {})}
    for metric in result.metrics.values():
        document.metrics[runner.key(metric.name, metric.order)] = array("Q", metric.values.tolist())
    return document


def _histograms(result: Result, order: int, width: int, bar: str) -> Iterator[str]:
    """Yield the latencies of all timed operations, a row for each doubling."""
    columns = [_octaves(result, base, order) for base, _ in _HISTOGRAMS]
    used = [octave for column in columns for octave in column]
    if not used:
        yield "  no latency was measured"
        return
    length = (width - 2 - _LABEL) // len(columns) - _COUNT - 3
    yield "  latencies of all timed operations (bars grow with the logarithm of the count)"
    names = "".join(f"  {name:<{length}} {'count':>{_COUNT}}" for _, name in _HISTOGRAMS)
    yield f"  {'from':>{_LABEL}}{names}"
    most = max(max(column.values(), default=0) for column in columns)
    for octave in range(min(used), max(used) + 1):
        cells = [_cell(column.get(octave, 0), most, length, bar) for column in columns]
        label = _time(_floor(octave)) if octave else _lowest(result, order)
        yield f"  {label:>{_LABEL}}{''.join(cells)}".rstrip()


def _lowest(result: Result, order: int) -> str:
    """Return what the operations are known of that were read as nothing."""
    for base, _ in _HISTOGRAMS:
        name = f"{base.removesuffix('_latency')}_latencies_ns"
        hidden = clock_step.of(result.counts, result.run, name, order)
        if hidden is not None and hidden.operations and hidden.step_ns is not None:
            return f"<{_time(hidden.step_ns)}"
    return _time(0)


def _octaves(result: Result, base: str, order: int) -> dict[int, int]:
    """Return how many latencies were in each octave; octave n is from 2^(n-1) up to 2^n ns.

    No bucket of a result lies in two of them.
    """
    counts = result.values(f"{base}_histogram", order)
    floors = result.values(f"{base}_histogram_bounds_ns", order)[: counts.size]
    if not floors.size:
        return {}
    octaves = np.frexp(floors.astype(float))[1]
    sums = np.bincount(octaves, weights=counts[: floors.size])
    return {octave: int(count) for octave, count in enumerate(sums) if count}


def _floor(octave: int) -> int:
    return 1 << (octave - 1) if octave else 0


def _cell(count: int, most: int, length: int, bar: str) -> str:
    """Return a bar and the count that it stands for; even a single operation has a bar."""
    if not count:
        return " " * (2 + length + 1 + _COUNT)
    filled = max(1, round(length * math.log1p(count) / math.log1p(most)))
    return f"  {bar * filled:<{length}} {count:>{_COUNT},}"


def _time(nanoseconds: int) -> str:
    """Return a time in a unit that leaves three digits."""
    for unit, size in (("ns", 1), ("us", 10**3), ("ms", 10**6)):
        if nanoseconds < 1000 * size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 10**9:.3g} s"


def _figures(values: Sequence[int]) -> dict[str, float]:
    """Return the figures of values, by the names they have in the summary."""
    stats = summary.statistics(values)
    figures = {
        "min": stats.least,
        "mean": stats.mean,
        "median": stats.median,
        "max": stats.largest,
    }
    if len(values) > _FEW:
        figures |= {"p95": stats.p95, "p99": stats.p99, "p99.9": stats.p999}
    return figures

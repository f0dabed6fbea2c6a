# SPDX-License-Identifier: GPL-2.0-only
"""A result as text: what was measured, in tables and in histograms of the latencies."""

from __future__ import annotations

import math
import re
import textwrap
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from page_alloc_bench.runner.result import columns, figures, metrics, names, summary, units
from page_alloc_bench.runner.result import document as runner
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.figures import Figures
from page_alloc_bench.runner.result.metrics import Rank, Timed

from . import amounts, facts, scaling
from .instructions import counted, shown
from .results import Measured, Result, ResultError

LEAST_WIDTH = columns.LEAST
MOST_WIDTH = summary.WIDTH
TEXT_WIDTH = 72  # of a metric in words, where there is no terminal or a wider one

_LABEL = 8  # columns: "1.05 ms"
_COUNT = 12  # columns: "123,456,789"
_GLUE = "\0"  # where no line is to be broken
_FEW = 16  # values that are shown one by one
_BREAK = 4  # columns before what does not fit beside its name
_OF_EACH = 48  # columns, of which the table of rates by CPUs has one more
_ROW = re.compile(r"(?: {2}(?P<label>\S.*?) {2,}| {8,})(?P<cells>\S.*)")  # of a table

Kind = Literal["plain", "heading", "warning", "alarm"]


@dataclass(frozen=True)
class Line:
    """A line without its end, and what it is, for a terminal with colours."""

    text: str
    kind: Kind = "plain"


def overview(result: Result, width: int = MOST_WIDTH, bar: str = "█") -> list[Line]:
    """Return the result in lines: what casts doubt on it first.

    width: columns, of which LEAST_WIDTH to MOST_WIDTH are used. bar: the character that bars are
    made of. Raises ResultError for a result that lacks facts.
    """
    try:
        return list(_overview(result, min(max(width, LEAST_WIDTH), MOST_WIDTH), bar))
    except KeyError as error:
        raise ResultError(result.path, f"has no {error} where there should be one") from error


def metric_text(result: Result, measured: Measured, width: int = TEXT_WIDTH) -> list[str]:
    """Return the figures of a metric of a result in lines. width: columns, TEXT_WIDTH at most."""
    width = min(width, TEXT_WIDTH)
    unit = f" {measured.unit}" if measured.unit else ""
    good = f", {measured.better} is better" if measured.better else ""
    values = measured.values.tolist()
    plural = "" if len(values) == 1 else "s"
    head = f"{measured.key}: {len(values):,} value{plural},{unit}{good}"
    lines = columns.wrap(head, max(width, len(head) if width == TEXT_WIDTH else 0), "  ")
    known = _figures(result, measured)
    if known.size > 1:
        if known.size != len(values):
            lines.append(f"  of all {known.size:,} that were timed:")
        texts = [f"{name}{_GLUE}{figure.text}" for name, figure in known.all().items()]
        wrapped = textwrap.wrap(", ".join(texts), width, **_INDENT)
        lines += [line.replace(_GLUE, " ") for line in wrapped]
    if len(values) <= _FEW:
        lines += textwrap.wrap(" ".join(map(str, values)), width, **_INDENT)
    else:
        lines.append(f"  (--json has all {len(values):,} values)")
    return lines


_INDENT: Any = {"initial_indent": "  ", "subsequent_indent": "  ", "break_long_words": False}


def metric_json(result: Result, measured: Measured) -> dict[str, Any]:
    """Return a metric of a result as JSON can have it.

    n: how many values there are. of: how many the figures are of; more where all that was timed
    is known, and the values are a sample. below: the figures of which is known only that they are
    less than what stands there.
    """
    known = _figures(result, measured)
    told = known.all()
    below = {name: figure.bound for name, figure in told.items() if not figure.known}
    return {
        "metric": measured.name,
        "order": measured.order,
        **({"chosen": dict(measured.case.chosen)} if measured.case.chosen else {}),
        "unit": measured.unit,
        "better": measured.better or "neither",
        "n": measured.values.size,
        "of": known.size,
        **{name: figure.value for name, figure in told.items()},
        **({"below": below} if below else {}),
        "values": measured.values.tolist(),
    }


def _figures(result: Result, measured: Measured) -> Figures:
    return figures.of(result.counts, result.run, measured.name, measured.case)


def find_metrics(result: Result, name: str) -> list[Measured]:
    """Return the metrics of this name: with the case, or without for those of all cases.

    Raises ResultError if there is none.
    """
    found = [m for m in result.metrics.values() if name in (m.name, m.key)]
    if not found:
        known = dict.fromkeys(measured.name for measured in result.metrics.values())
        raise ResultError(result.path, f"has no metric {name}. {names.instead_of(name, known)}")
    return found


def facts_text(result: Result, width: int | None = None) -> list[str]:
    """Return what is known of the run, a fact a line. width: columns for it; None: any number.

    What does not fit beside its name stands below it, and no word of it is cut.
    """
    known = facts.flatten(result.run)
    longest = max(map(len, known))
    beside = longest if width is None else min(longest, width // 2)
    lines = []
    for name, value in known.items():
        line = f"{name:<{beside}}  {facts.text(value)}"
        if width is None or len(line) <= width:
            lines.append(line)
        else:
            indent = " " * _BREAK
            lines += [name, *columns.wrap(facts.text(value), width, indent, first=indent)]
    return lines


def _overview(result: Result, width: int, bar: str) -> Iterator[Line]:
    document = as_document(result)
    run = document.run
    if not run["complete"]:
        yield from (Line(text, "alarm") for text in summary.not_complete(run, width))
    yield from (Line(text, "warning") for text in summary.warnings(run["warnings"], width))
    started = run.get("started_at", "an unknown time")
    yield Line(str(result.path))
    about = f"started {started}, page-alloc-bench {run['tool_version']}"
    yield from map(Line, columns.wrap(about, width, "  "))
    yield from (Line(text, "heading") for text in summary.heading(run, width) if text)
    for case in document.cases():
        first, *rest = _of_case(result, document, case, width)
        yield Line("")
        yield Line(first, "heading")
        yield from (Line(text) for text in rest)
        yield Line("")
        drawn = _by_function if counted.is_counted(result) else _histograms
        yield from (Line(text) for text in drawn(result, case, width, bar))
    yield from _scaling(result, width)


def _of_case(result: Result, document: runner.Document, case: Case, width: int) -> Iterator[str]:
    """Yield the summary of a case; where a row does not fit, its figures are below its label.

    Of counted instructions each figure is one value, the largest, and the labels are long.
    """
    room = max(width, TEXT_WIDTH) if counted.is_counted(result) else width
    for line in summary.of_case(document, case, room):
        row = _ROW.fullmatch(line)
        if len(line) <= width:
            yield line
        elif row is None:
            yield from columns.wrap(line.strip(), width, " " * _BREAK, first="  ")
        else:
            yield from columns.wrap(row["label"] or "", width, " " * _BREAK, first="  ")
            yield row["cells"].rjust(width)


def _scaling(result: Result, width: int) -> Iterator[Line]:
    """Yield how each rate grows with the number of CPUs, where several were measured."""
    for curve in scaling.curves([result]):
        (fewest, first), *_ = curve.middles
        yield Line("")
        heading = f"{curve.rate.label} by CPUs, {curve.case}"
        yield from (Line(text, "heading") for text in columns.wrap(heading, width, "  "))
        table = [("CPUs", "per second", "of each", "kept")]
        for cpus, rate in curve.middles:
            kept = 100 * rate / cpus / (first / fewest)
            table.append((f"{cpus:,}", f"{rate:,.0f}", f"{rate / cpus:,.0f}", f"{kept:.0f} %"))
        for cpus_of, rate_of, each, kept_of in table:
            beside = f"{each:>16}" if width >= _OF_EACH else ""
            yield Line(f"  {cpus_of:>6}{rate_of:>16}{beside}{kept_of:>8}")
        least = f"{100 * scaling.KEPT:.0f} % of the rate of each of {fewest:,}"
        knee = (
            "no knee: each keeps"
            if curve.knee is None
            else f"knee at {curve.knee:,}: the last with"
        )
        yield from map(Line, columns.wrap(f"{knee} {least}", width, " " * _BREAK, first="  "))


def _by_function(result: Result, case: Case, width: int, _bar: str) -> Iterator[str]:
    """Yield which functions the instructions of the case's patterns are in."""
    side = counted.side("", [result])
    paths = [path for path in side.cases() if path.order == case.order]
    for number, path in enumerate(paths):
        lines = list(shown.by_function(side, path, width))
        yield from ([""] if number and lines else [])
        yield from lines
    if not any(side.whole(path) for path in paths):
        yield "  not counted by function"


def as_document(result: Result) -> runner.Document:
    """Return the result as the runner has it."""
    document = runner.Document(result.run)
    if not result.run["complete"]:
        document.run["ended"] = {"reason": "no reason is given", **result.run.get("ended", {})}
    for measured in result.metrics.values():
        document.metrics[measured.key] = array("Q", measured.values.tolist())
    return document


def _histograms(result: Result, case: Case, width: int, bar: str) -> Iterator[str]:
    """Yield the latencies of all timed operations, a row for each doubling.

    The operations are side by side, or below each other where there is no room for that.
    """
    primary = [of for of in metrics.operations().values() if of.sample.rank is Rank.PRIMARY]
    found = [(of, counts) for of in primary if (counts := _octaves(result, of, case))]
    if not found:
        yield "  no latency was measured"
        return
    title = "latencies of all timed operations (bars grow with the logarithm of the count)"
    yield from columns.wrap(title, width, " " * _BREAK, first="  ")
    longest = max(len(of.sample.label) for of, _ in found)
    together = _length(width, len(found)) >= longest
    for group in [found] if together else [[each] for each in found]:
        yield from _histogram(result, case, group, _length(width, len(group)), bar)


def _length(width: int, operations: int) -> int:
    """Return how many columns a bar may have where so many operations are side by side."""
    return (width - 2 - _LABEL) // operations - _COUNT - 3


def _histogram(
    result: Result,
    case: Case,
    group: Sequence[tuple[Timed, dict[int, int]]],
    length: int,
    bar: str,
) -> Iterator[str]:
    """Yield the rows of one table of latencies. length: columns of the longest bar."""
    used = [octave for _, counts in group for octave in counts]
    heads = (f"  {of.sample.label:<{length}} {'count':>{_COUNT}}" for of, _ in group)
    yield f"  {'from':>{_LABEL}}{''.join(heads)}"
    most = max(max(counts.values(), default=0) for _, counts in group)
    for octave in range(min(used), max(used) + 1):
        cells = [_cell(counts.get(octave, 0), most, length, bar) for _, counts in group]
        lowest = _lowest(result, [of for of, _ in group], case)
        label = _time(_floor(octave)) if octave else lowest
        yield f"  {label:>{_LABEL}}{''.join(cells)}".rstrip()


def _lowest(result: Result, shown: Sequence[Timed], case: Case) -> str:
    """Return what the operations are known of that were read as nothing."""
    for of in shown:
        hidden = figures.of(result.counts, result.run, of.sample.name, case).hidden
        if hidden is not None and hidden.operations and hidden.step_ns is not None:
            return f"<{_time(hidden.step_ns)}"
    return _time(0)


def _octaves(result: Result, of: Timed, case: Case) -> dict[int, int]:
    """Return how many latencies were in each octave; octave n is from 2^(n-1) up to 2^n ns.

    No bucket of a result lies in two of them.
    """
    counts = result.values(of.histogram.name, case)
    floors = result.values(of.edges.name, case)[: counts.size]
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
    return amounts.scaled(nanoseconds, units.TIME, lambda value: f"{value:.3g}", " ", nearly=1.0)

# SPDX-License-Identifier: GPL-2.0-only
"""The tables of a report: what the pictures show, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from page_alloc_bench.analysis import compare, format_words, notation
from page_alloc_bench.analysis.instructions import counted, path_length
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import Loss, Metric

from . import axes as ax
from . import counters, figures, memory
from .sides import Side

_UNKNOWN = "-"


class Row(tuple[str, ...]):
    """A row's cells, with a class of the style sheet for the whole of it."""

    mark: str

    def __new__(cls, cells: Iterable[str], mark: str = "") -> Row:
        """Return a row of these cells."""
        made = super().__new__(cls, tuple(cells))
        made.mark = mark
        return made


@dataclass(frozen=True)
class Table:
    """A table. The first cell of each row is its header; the others are numbers.

    A row of one cell is a heading of those below it. open: shown at once, not only when asked for.
    text: cells are words, not numbers. screen: too long to be printed. narrow: leaves room beside
    it on paper.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    open: bool = False
    text: bool = False
    screen: bool = False
    narrow: bool = False


def summary(side: Side) -> Table:
    """Return the figures of one side."""
    several = len(side.results) > 1
    rows = [
        (compare.describe(statistic), figures.span(values, statistic.unit))
        for statistic, values in figures.shown(side).items()
    ]
    head = "median of the runs (least to most)" if several else "value"
    return Table(f"Figures of {side.legend}", ("figure", head), rows, open=True)


def comparison(made: compare.Comparison, sides: Sequence[Side]) -> list[Table]:
    """Return the tables of a comparison, one for each workload."""
    # What matters most stands where a narrow screen shows it.
    head = ("figure", "change", "verdict", *(side.legend for side in sides))
    workloads = list(dict.fromkeys(row.workload for row in made.rows))
    return [
        Table(
            "What changed" + (f": {workload}" if len(workloads) > 1 else ""),
            head,
            _rows([row for row in made.rows if row.workload == workload]),
            open=True,
        )
        for workload in workloads
    ]


def _rows(found: Sequence[compare.Row]) -> list[Row]:
    """Return what decides, and below it what does not."""
    rows = [_row(row) for row in found if row.decides]
    if apart := [_row(row) for row in found if not row.decides]:
        rows += [Row(["shown, and tested apart; decides nothing:"], "apart"), *apart]
    return rows


def _row(row: compare.Row) -> Row:
    marks = {"worse": "worse", "better": "better"}
    change = format_words.change(row) + ("ppm" if row.kind == "failures" else "")
    inside = format_words.interval(row)
    return Row(
        (
            compare.describe(row),
            f"{change} ({inside})" if inside else change,
            row.verdict,
            _interval(row.base, row.unit),
            _interval(row.new, row.unit),
        ),
        marks.get(row.verdict, "") if row.decides else "",
    )


def geomeans(made: compare.Comparison) -> Table:
    """Return the mean change of each family of figures."""
    rows = [
        (
            f"{item.family} ({item.rows} figures)",
            _percent(item.change_percent, item.change_low, item.change_high),
        )
        for item in made.geomeans
    ]
    title = "Geometric means of the changes"
    return Table(title, ("family", "change"), rows, open=True, narrow=True)


def _interval(side: compare.Side, unit: str) -> str:
    text = ("<" if side.below else "") + figures.write(side.median, unit)
    if side.low is None or side.high is None:
        return text
    return f"{text} [{figures.write(side.low, unit)}, {figures.write(side.high, unit)}]"


def _percent(middle: float | None, low: float | None, high: float | None) -> str:
    if middle is None:
        return _UNKNOWN
    inside = notation.interval(middle, low, high)
    text = notation.change(middle, low, high)
    return f"{text} ({inside})" if inside else text


def difference(section: str, sides: Sequence[Side], case: Case) -> list[Table]:
    """Return where amounts of a section went that are less beside something."""
    made = []
    for loss in metrics.losses():
        if metrics.declared(loss.without).section != section:
            continue
        found = [memory.differences(side.results, loss, case) for side in sides]
        if any(found):
            made.append(_difference(loss, found, sides, case))
    return made


def _difference(
    loss: Loss, found: Sequence[Sequence[memory.Difference]], sides: Sequence[Side], case: Case
) -> Table:
    without, beside, *_ = loss.labels
    parts = [("without", without), ("beside", beside), *memory.rows(loss)]
    rows = [(text, *(_median(differences, part) for differences in found)) for part, text in parts]
    head = ("means of a run's iterations", *(side.legend for side in sides))
    return Table(f"{metrics.declared(loss.without).family.capitalize()}, {case}", head, rows)


def _median(differences: Sequence[memory.Difference], part: str) -> str:
    value = memory.median(differences, part)
    return "not recorded" if value is None else ax.size(value)


def throughput(section: str, sides: Sequence[Side], case: Case) -> list[Table]:
    """Return the rates of a section by node and by CPU."""
    made = []
    for rate in counters.rates_by_cpu():
        if rate.section != section:
            continue
        rates = [counters.cpu_rates(side.results, rate, case) for side in sides]
        if any(rates):
            made.append(_by_cpu(rate, rates, sides, case))
    return made


def _by_cpu(
    rate: Metric, rates: Sequence[dict[int, counters.Floats]], sides: Sequence[Side], case: Case
) -> Table:
    nodes = counters.node_of_cpu([result for side in sides for result in side.results])
    cpus = sorted({cpu for found in rates for cpu in found}, key=lambda c: (nodes.get(c, 0), c))
    middles = [{cpu: float(np.median(v)) for cpu, v in found.items()} for found in rates]
    rows = []
    for node in sorted({nodes.get(cpu, 0) for cpu in cpus}):
        inside = [cpu for cpu in cpus if nodes.get(cpu, 0) == node]
        sums = [sum(found.get(cpu, 0.0) for cpu in inside) for found in middles]
        rows.append(
            (f"node {node}, all CPUs ({len(inside)})", *(f"{value:,.0f}" for value in sums))
        )
        for cpu in inside:
            cells = (f"{found[cpu]:,.0f}" if cpu in found else _UNKNOWN for found in middles)
            rows.append((f"CPU {cpu}", *cells))
    what = metrics.declared(rate.counts).label
    head = (f"{what} per second", *(side.legend for side in sides))
    return Table(f"{rate.label.capitalize()} by node and CPU, {case}", head, rows)


def free_memory(sides: Sequence[Side], case: Case) -> list[Table]:
    """Return free memory by the order of its blocks, before and after both phases."""
    moments = [
        (p, w, s) for p in metrics.measured_phases() for s in sides for w in ("before", "after")
    ]
    columns = []
    for phase, when, side in moments:
        noted = [counters.free_bytes(result, phase, case, when) for result in side.results]
        known = [row for row in noted if row is not None]
        columns.append(_middle(known))
    depth = max(map(len, columns), default=0)
    if not depth:
        return []
    rows = [
        (f"blocks of order {n}", *(ax.size(c[n]) if n < len(c) else _UNKNOWN for c in columns))
        for n in range(depth)
    ]
    rows.append(("all", *(ax.size(sum(c)) if c else _UNKNOWN for c in columns)))
    head = ["free memory"]
    for phase, when, side in moments:
        head.append(f"{when} {phase}" + (f", {side.key}" if len(sides) > 1 else ""))
    return [Table(f"/proc/buddyinfo, all zones, {case}", head, rows, screen=True)]


def _middle(rows: Sequence[counters.Floats]) -> list[float]:
    if not rows:
        return []
    depth = max(map(len, rows))
    padded = [np.pad(row, (0, depth - len(row))) for row in rows]
    return [float(value) for value in np.median(padded, axis=0)]


def vmstat(sides: Sequence[Side], case: Case) -> list[Table]:
    """Return every counter of /proc/vmstat that changed in a phase."""
    columns = []
    head = ["counter"]
    for phase in metrics.measured_phases():
        for side in sides:
            deltas = [counters.vmstat(result, phase, case) for result in side.results]
            columns.append([delta for delta in deltas if delta])
            head.append(phase + (f", {side.key}" if len(sides) > 1 else ""))
    names = sorted({name for deltas in columns for delta in deltas for name in delta})
    if not names:
        return []
    rows = [(name, *(_change(deltas, name) for deltas in columns)) for name in names]
    return [Table(f"/proc/vmstat, change in each phase, {case}", head, rows, screen=True)]


def _change(deltas: Sequence[dict[str, int]], name: str) -> str:
    if not deltas:
        return _UNKNOWN
    return f"{np.median([delta.get(name, 0) for delta in deltas]):,.10g}"


def by_function(sides: Sequence[Side], case: Case) -> list[Table]:
    """Return what each function cost in instructions, of each pattern; the whole first."""
    boots = [counted.side(side.key, side.results) for side in sides]
    made = []
    for path in boots[0].cases():
        wholes = [side.whole(path) for side in boots]
        if path.order != case.order or None in wholes:
            continue
        found = [side.functions(path) for side in boots]
        names = sorted({name for costs in found for name in costs})
        cost = {
            n: [costs.get(n, path_length.NOTHING).instructions for costs in found] for n in names
        }
        names.sort(key=lambda name: (-abs(cost[name][-1] - cost[name][0]), -cost[name][0]))
        cost["all"] = [whole.instructions for whole in wholes if whole is not None]
        rows = [
            (name, *(f"{value:,.2f}" for value in cost[name]), *_changed(cost[name]))
            for name in ["all", *names]
            if any(f"{value:.2f}" != "0.00" for value in cost[name])
        ]
        head = ["function", *(side.legend for side in sides), *(["change"] if found[1:] else [])]
        made.append(Table(f"Instructions of an operation, {path}", head, rows))
    return made


def _changed(values: Sequence[float]) -> list[str]:
    return [f"{values[1] - values[0]:+,.2f}"] if len(values) > 1 else []


def of_section(section: str, sides: Sequence[Side], case: Case) -> list[Table]:
    """Return the tables that belong to a section's pictures."""
    kernels = {"buddyinfo": free_memory, "vmstat": vmstat, "instructions": by_function}
    if section in kernels:
        return kernels[section](sides, case)
    return [*difference(section, sides, case), *throughput(section, sides, case)]

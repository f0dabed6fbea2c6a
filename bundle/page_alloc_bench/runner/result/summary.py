# SPDX-License-Identifier: GPL-2.0-only
"""The table at the end of a run, for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import columns, figures, remarks, units
from .case import Case, case_of
from .document import Document
from .figures import Figure, Figures
from .metrics import Metric, every

WIDTH = 100  # at most: more makes a row hard to follow

_HEADER = ("samples", *figures.NAMES)
# What a narrow table does without, the first to go first. The median stays.
_DROPPED_FIRST = ("p95", "min", "samples", "p99", "mean", "p99.9", "max")
_NONE = "-"  # of too few values
_OF_ALL = "*"  # a maximum of more operations than the rest of its row

# Which of the units of a row's kind are used; an amount of memory in bytes reads badly.
_FIRST = {"bytes": 1}
_LONGEST = 99_999.5  # of bytes; above that, a larger unit reads better


def render(document: Document, width: int = columns.USUAL, told: Collection[str] = ()) -> str:
    """Return the summary of a run: table, rates, warnings.

    width: columns, of which columns.LEAST to WIDTH are used. told: warnings that the reader has
    had.
    """
    width = min(max(width, columns.LEAST), WIDTH)
    run = document.run
    lines = heading(run, width)
    for case in document.cases():
        lines += ["", *of_case(document, case, width)]
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


def of_case(document: Document, case: Case | int, width: int = WIDTH) -> list[str]:
    """Return the table of one case, and what it cannot say."""
    case = case_of(case)
    block = document.run["kernel"]["page_size_bytes"] << case.order
    return [
        f"{case} ({units.whole_kib(block)} per block)",
        *_table(document, case, width),
        *remarks.of(document, case, width),
    ]


def not_complete(run: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return why a run is not complete."""
    return columns.wrap(f"NOT COMPLETE: {run['ended']['reason']}", width, "  ")


def heading(run: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return what was measured on, after an empty line."""
    kernel, machine = run["kernel"], run["machine"]
    text = (
        f"kernel {kernel['release']}, CPUs {_short(machine['cpus_used'])}, "
        f"{len(machine['nodes'])} node(s), {units.size(machine['memory_bytes'])}"
    )
    return ["", *columns.wrap(text, width, "  ")]


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:27] + "..."


@dataclass(frozen=True)
class _Row:
    """A row of the table, whose figures are all of the same values or timed operations.

    Only the largest may be of more of them, and is marked then.
    """

    metric: Metric
    figures: Figures

    @property
    def of_all(self) -> bool:
        """Return whether the largest is of more operations than the rest."""
        return self.figures.distribution.largest_is_of_more


def _rows(document: Document, case: Case) -> Iterator[_Row]:
    for metric in every().values():
        if metric.in_table:
            found = figures.of(document.get, document.run, metric.name, case)
            if found.size:
                yield _Row(metric, found)


def _table(document: Document, case: Case, width: int) -> list[str]:
    """Return the table of one case, in the smallest units that fit.

    Where none does, columns are left out: a number that is cut is another number.
    """
    rows = list(_rows(document, case))
    shown = list(_HEADER)
    for dropped in (None, *_DROPPED_FIRST):
        shown = [name for name in shown if name != dropped]
        used = {"bytes": _unit_of_bytes(rows), "ns": 0}
        lines = _layout(rows, used, shown)
        while max(map(len, lines)) > width and used["ns"] + 1 < len(units.TIME):
            used["ns"] += 1
            lines = _layout(rows, used, shown)
        if max(map(len, lines)) <= width:
            break
    marked = "max" in shown and any(row.of_all for row in rows)
    note = columns.wrap(
        f"{_OF_ALL} of all that were timed, not of the samples only", width, "    ", first="  "
    )
    return [*lines, *(note if marked else [])]


def _unit_of_bytes(rows: Sequence[_Row]) -> int:
    """Return the index of the smallest unit in which no amount of memory gets long."""
    sizes = (row.figures.distribution.largest for row in rows if row.metric.unit == "bytes")
    largest = max(sizes, default=0)
    fitting = (
        i for i, (_, size) in enumerate(units.BYTES)
        if i >= _FIRST["bytes"] and largest / size < _LONGEST
    )  # fmt: skip
    return next(fitting, len(units.BYTES) - 1)


def _layout(rows: Sequence[_Row], used: dict[str, int], shown: Sequence[str]) -> list[str]:
    """Return the lines of a table, its columns as wide as they need to be."""
    cells = [_cells(row, used) for row in rows]
    table = [("", *shown), *((row["label"], *(row[name] for name in shown)) for row in cells)]
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        "  ".join(
            cell.rjust(width) if column else "  " + cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        )
        for line in table
    ]


def _cells(row: _Row, used: dict[str, int]) -> dict[str, str]:
    """Return the text of each figure of a row by the name of its column, and the row's label."""
    base = row.metric.unit
    unit, size = units.of(base)[used[base]] if base in used else (base, 1.0)

    def cell(figure: Figure | None) -> str:
        if figure is None:
            return _NONE
        if figure.known:
            return number(figure.value / size, unit)
        return "<?" if figure.bound is None else f"<{number(figure.bound / size, unit)}"

    cells = {name: cell(row.figures.get(name)) for name in figures.NAMES}
    cells["max"] += _OF_ALL * row.of_all
    return {"label": f"{row.metric.label}, {unit}", "samples": f"{row.figures.size:,}", **cells}


def number(value: float, unit: str) -> str:
    """Return value with as many decimals as can matter: none of nanoseconds, few of the large."""
    if unit == "ns" or value >= 10_000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def warnings(texts: Sequence[str], width: int = WIDTH) -> list[str]:
    """Return the warnings, each once."""
    lines = []
    for text in dict.fromkeys(texts):
        times = texts.count(text)
        lines += columns.wrap(
            f"warning: {text}" + (f" ({times} times)" if times > 1 else ""), width, "  "
        )
    return lines

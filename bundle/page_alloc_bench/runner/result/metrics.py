# SPDX-License-Identifier: GPL-2.0-only
"""What a metric is, and which there are.

Each metric is declared once, in a file of declared/ that is found by listing that directory. The
JSON Schema, the summary, show, KTAP, compare, report, every export, query and the manual's table
are made from the declarations, and name no metric themselves.
"""

from __future__ import annotations

import enum
import functools
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from . import declared as _declared
from .case import SUFFIX

Better = Literal["higher", "lower"]
Per = Literal["case", "iteration", "cpu", "slice"]


class UndeclaredError(ValueError):
    """A name is not that of a metric; the message is one line that has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:100]} is not a metric that this version knows")


class Kind(enum.Enum):
    """What the values of a metric are.

    AMOUNT: of something at a moment, or of what one iteration took. RATE: per second. COUNT: of
    what happened; it grows with the time that a run takes. SHARE: a count that is compared as a
    part of others (Metric.of). The others are about timed operations, all of one
    Metric.operation: SAMPLE: uniform, of their latencies. TIMED: how many there were. BELOW_STEP:
    how many of these were shorter than the step of the clock. SUM, MAXIMUM: of the latencies of
    all. HISTOGRAM: of all, between EDGES. FIGURE: of those of each CPU, or of each slice of time.
    """

    AMOUNT = "amount"
    RATE = "rate"
    COUNT = "count"
    SHARE = "share"
    SAMPLE = "sample"
    TIMED = "timed"
    BELOW_STEP = "below the clock's step"
    SUM = "sum"
    MAXIMUM = "maximum"
    HISTOGRAM = "histogram"
    EDGES = "edges"
    FIGURE = "figure"


COUNTS = (Kind.COUNT, Kind.SHARE, Kind.TIMED, Kind.BELOW_STEP)


class Rank(enum.IntEnum):
    """How much a figure weighs when runs are compared. Each test makes the others weaker.

    PRIMARY is tested by default, SHOWN is only shown, REST is left out, unless all are asked for.
    """

    PRIMARY = 0
    SHOWN = 1
    REST = 2


@dataclass(frozen=True)
class Metric:
    """A metric: what it is, how it is compared, and where it is shown.

    name: in the result, before the suffix of the case.
    unit: of its values.
    better: the direction that is good; None where neither is.
    description: sentences, for the schema and the manual.
    kind: what its values are.
    label: what people call it, in lower case.
    short: the same in at most 12 columns; empty if the label is short enough.
    per: of what each value is: the case, an iteration, a CPU (in the order of run.cpus), or a slice
        of time.
    of: the metrics that a SHARE or TIMED is a part of, together.
    counts: the metric of what happens so often a second, for a RATE, or of the sum, for a value
        per CPU.
    operation: what is timed; the same for all metrics about it.
    figure: which, of a FIGURE: median, p99, max; "" for how long a slice was.
    family: those whose changes are averaged when runs are compared.
    rank: how much it weighs then; needed where a direction is good.
    stand_in_for: a metric of rank PRIMARY; this one is primary where a result does not have that.
    in_table: whether the summary's table has a row of it.
    remark: what the summary says below its table, of value (the sum), share (percent of the whole),
        whole, per_cpu and cpus; remarks of one section are one line.
    remark_of_none: whether it is said of a value of 0.
    section: of the summary's remarks, and of the report.
    phase: that it is measured in, if it is of one.
    subtest: of KTAP, before whose result its values are told.
    surroundings: whether it is what the host had to offer before, in which sides must agree.
    contracted: whether every result of its workload has it, empty where nothing was measured.
    """

    name: str
    unit: str
    better: Better | None
    description: str
    kind: Kind
    label: str
    short: str = ""
    per: Per = "case"
    of: tuple[str, ...] = ()
    counts: str = ""
    operation: str = ""
    figure: str = ""
    family: str = ""
    rank: Rank | None = None
    stand_in_for: str = ""
    in_table: bool = False
    remark: str = ""
    remark_of_none: bool = True
    section: str = ""
    phase: str = ""
    subtest: str = ""
    surroundings: bool = False
    contracted: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a declaration that would be compared and has no rank for it."""
        if self.compared and (self.rank is None or not self.family):
            raise ValueError(f"{self.name} has a good direction, and no rank and family")
        if self.kind is Kind.SHARE and not self.of:
            raise ValueError(f"{self.name} is a share of nothing")

    @property
    def compared(self) -> bool:
        """Return whether it gives figures of its own when runs are compared.

        The longest operation is one of its SAMPLE; what each CPU did is in the sum.
        """
        return self.better is not None and self.kind is not Kind.MAXIMUM and self.per != "cpu"

    @property
    def is_count(self) -> bool:
        """Return whether it counts what happened."""
        return self.kind in COUNTS


@dataclass(frozen=True)
class Timed:
    """The metrics about one timed operation, by their kinds."""

    operation: str
    sample: Metric
    timed: Metric
    below_step: Metric
    total: Metric
    largest: Metric
    histogram: Metric
    edges: Metric
    figures: tuple[Metric, ...] = ()

    def figure(self, per: Per, name: str) -> Metric:
        """Return a figure of each CPU, or of each slice of time. Raises KeyError if it has none."""
        for metric in self.figures:
            if (metric.per, metric.figure) == (per, name):
                return metric
        raise KeyError(f"{self.operation}: {name} per {per}")

    @property
    def key(self) -> str:
        """Return a word for names of files and sections."""
        return self.sample.section


@dataclass(frozen=True)
class Subtest:
    """A subtest of KTAP. balance: two metrics whose sums must be equal, or it fails.

    loss: says how many were lost; of {lost}. absent: why it is skipped where nothing was measured;
    if that cannot be, "".
    """

    name: str
    balance: tuple[str, ...] = ()
    loss: str = ""
    absent: str = ""


@dataclass(frozen=True)
class Phase:
    """A phase of a run, as run.phases has it.

    subtests: those that its end decides. measured: whether memory or work is measured in it, so
    that the kernel's counters over it tell something. pressed: whether it is the one to read them
    in first. types: when free memory is read by migratetype, before or after it: no worker runs
    then, for that holds the zones' locks.
    """

    name: str
    subtests: tuple[Subtest, ...] = ()
    measured: bool = False
    pressed: bool = False
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loss:
    """An amount that is less beside something that holds a part of it than without that.

    without, beside, held: metrics. parts: keys of run.iterations that tell more of the difference,
    with what they are called. text: how the summary puts it, and of what, of two: these metrics, or
    those that they stand in for. title and so on: how the report puts it.
    """

    without: str
    beside: str
    held: str
    parts: tuple[tuple[str, str], ...]
    of: tuple[str, str]
    text: str
    labels: tuple[str, str, str, str, str]
    title: str
    sentence: str
    explanation: str


@functools.cache
def _modules() -> tuple[ModuleType, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(_declared.__path__))
    return tuple(importlib.import_module(f"{_declared.__name__}.{name}") for name in names)


def _all(what: str) -> Iterator[Any]:
    """Yield what the files of declarations have under a name."""
    for module in _modules():
        yield from getattr(module, what, ())


@functools.cache
def every() -> dict[str, Metric]:
    """Return all metrics by name, in the order of their declaration.

    Raises ValueError for two of one name.
    """
    found: dict[str, Metric] = {}
    for metric in _all("METRICS"):
        if metric.name in found:
            raise ValueError(f"{metric.name} is declared twice")
        found[metric.name] = metric
    return found


def declared(name: str) -> Metric:
    """Return a metric. Raises UndeclaredError."""
    try:
        return every()[name]
    except KeyError:
        raise UndeclaredError(name) from None


@functools.cache
def operations() -> dict[str, Timed]:
    """Return the timed operations, in the order of their declaration."""
    kinds = {
        "sample": Kind.SAMPLE,
        "timed": Kind.TIMED,
        "below_step": Kind.BELOW_STEP,
        "total": Kind.SUM,
        "largest": Kind.MAXIMUM,
        "histogram": Kind.HISTOGRAM,
        "edges": Kind.EDGES,
    }
    found: dict[str, dict[Kind, Metric]] = {}
    figures: dict[str, tuple[Metric, ...]] = {}
    for metric in every().values():
        if metric.kind is Kind.FIGURE:
            figures[metric.operation] = (*figures.get(metric.operation, ()), metric)
        elif metric.operation:
            found.setdefault(metric.operation, {})[metric.kind] = metric
    return {
        name: Timed(
            name,
            **{field: of[kind] for field, kind in kinds.items()},
            figures=figures.get(name, ()),
        )
        for name, of in found.items()
    }


def operation_of(name: str) -> Timed | None:
    """Return the timed operation that a metric is about; None if it is about none."""
    metric = every().get(name)
    return operations()[metric.operation] if metric is not None and metric.operation else None


def phases() -> Sequence[Phase]:
    """Return the phases of a run, in the order in which KTAP tells them."""
    return tuple(_all("PHASES"))


def measured_phases() -> list[str]:
    """Return the names of the phases over which the kernel's counters tell something."""
    return [phase.name for phase in phases() if phase.measured]


def typed_moments() -> dict[str, tuple[str, ...]]:
    """Return when free memory is read by migratetype, by the name of the phase."""
    return {phase.name: phase.types for phase in phases() if phase.types}


def losses() -> Sequence[Loss]:
    """Return the amounts that are less beside something that holds a part of them."""
    return tuple(_all("LOSSES"))


@functools.cache
def families() -> tuple[str, ...]:
    """Return the families in the order of tables: those that are tested by default first."""
    ranks: dict[str, int] = {}
    for metric in every().values():
        if metric.rank is not None:
            ranks[metric.family] = min(metric.rank, ranks.get(metric.family, metric.rank))
    return tuple(sorted(ranks, key=lambda family: ranks[family]))


def position(name: str) -> int:
    """Return the place of a metric among all. Raises UndeclaredError."""
    return list(every()).index(declared(name).name)


@functools.cache
def _workloads() -> dict[str, str]:
    return {
        metric.name: module.__name__.rpartition(".")[2].replace("_", "-")
        for module in _modules()
        for metric in getattr(module, "METRICS", ())
    }


def workload_of(name: str) -> str:
    """Return the workload that a metric is declared for, such as "available-memory".

    Raises UndeclaredError.
    """
    return _workloads()[declared(name).name]


def forget() -> None:
    """Read the declarations again when they are asked for next: there may be more files of them."""
    for cached in (_modules, every, operations, families, _workloads):
        cached.cache_clear()


def per_cpu(counts: str) -> Metric | None:
    """Return the metric that has what a count is of each CPU; None if there is none."""
    return next((m for m in every().values() if m.per == "cpu" and m.counts == counts), None)


def schema_text(text: str) -> str:
    """Return the text of the JSON Schema with its parts about metrics and phases made anew."""
    entries = {
        f"^{metric.name}{SUFFIX}$": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "unit": metric.unit,
            "better": metric.better or "neither",
            "description": metric.description,
        }
        for metric in every().values()
    }
    part = json.dumps({"patternProperties": entries}, indent=2)[2:-2]
    part = re.sub(r'"items": {\s+(.*,)\n\s+(.*)\s+}', r'"items": {\1 \2}', part)
    begin = text.index('  "patternProperties": {')
    end = text.index("\n  },", begin) + len("\n  }")
    names = ", ".join(json.dumps(phase.name) for phase in phases())
    before = re.sub(
        r'("phases": \{.*?"name": \{"enum": \[).*?(\]\})',
        lambda found: found[1] + names + found[2],
        text[:begin],
        count=1,
        flags=re.DOTALL,
    )
    return before + part + text[end:]

# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every result that is read, so that nothing else has to ask.

The schema that the runner ships says of which type each value under "run" is. It is applied with
more tolerance than a new result is held to: an older runner did not write everything that the
schema requires now, and a newer one may write more, and use other words where the schema lists the
known ones.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from page_alloc_bench.runner.result import document as runner
from page_alloc_bench.runner.result import metrics as declared
from page_alloc_bench.runner.result.case import Case, key

from . import quick_schema

# What is relied on, by the place under "run". "*": of each element of the array. What is at the top
# of "run" and not listed here may be absent, when the run began too; what is listed below such a
# place is there if that is: who writes the one writes the other.
_REQUIRED: dict[tuple[str, ...], tuple[str, ...]] = {
    (): (
        "bundle", "complete", "iterations", "kernel", "machine", "parameters", "phases",
        "tool_version", "warnings",
    ),
    ("clocks", "*"): ("cost_ps",),
    ("exact",): ("cases",),
    ("exact", "cases", "*"): ("pattern", "order", "instructions", "allocs"),
    ("inherited",): ("in_force",),
    ("kernel",): (
        "release", "version", "machine", "cmdline", "taint", "page_size_bytes", "config",
    ),
    ("kernel", "config"): ("sha256", "options"),
    ("machine",): ("cpus_used", "memory_bytes", "nodes", "clocksource"),
    ("phases", "*"): ("name", "order", "vmstat_delta"),
    ("preflight", "*"): ("name", "severity", "found", "meaning"),
    ("where", "*"): ("pattern", "order", "operations", "total", "functions"),
    ("where", "*", "functions", "*"): ("name", "instructions", "atomics", "loads", "stores"),
}  # fmt: skip
# Every number fits into 64 bits and every order into a name: larger ones are mistakes.
_LARGEST = 2**63
_LARGEST_ORDER = 63
_COUNTED = {"instructions", "atomics", "loads", "stores"}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def fault_of_run(run: dict[str, Any]) -> str | None:
    """Return what is wrong with the object under "run", None if nothing is."""
    if not _quick()(run) and (fault := _fault_by_schema(run)) is not None:
        return fault
    if (fault := _fault_in(run)) is not None:
        return f"run{fault}"
    if (fault := _fault_of_counts(run)) is not None:
        return fault
    started = run.get("started_at")
    return None if started is None else _fault_of_time(started)


def fault_of_metrics(metrics: Mapping[tuple[str, Case], NDArray[np.int64]]) -> str | None:
    """Return what does not fit together in the metrics, which are by name and case.

    A histogram has one bound more than buckets, in rising order, and counts something at all
    where there is anything to count.
    """
    for name, case in metrics:
        if case.order > _LARGEST_ORDER:
            return f"{key(name, case)[:100]}: there is no such order"
    cases = {case for _, case in metrics}
    for timed in declared.operations().values():
        for case in cases:
            counts = metrics.get((timed.histogram.name, case))
            edges = metrics.get((timed.edges.name, case))
            if counts is not None and (fault := _fault_of_histogram(counts, edges)):
                return fault.format(key(timed.histogram.name, case))
    return None


def _fault_of_histogram(counts: NDArray[np.int64], edges: NDArray[np.int64] | None) -> str | None:
    """Return what is wrong with a histogram, whose name is to be put in; None if nothing is."""
    size = 0 if edges is None else edges.size
    rising = edges is None or bool(np.all(np.diff(edges) > 0))
    if counts.size and (size != counts.size + 1 or not rising):
        return "the bounds of {} do not fit it"
    if float(counts.sum(dtype=float)) >= _LARGEST:
        return "{} counts more than 2^63 operations"
    return None


@functools.cache
def _schema() -> dict[str, Any]:
    whole = runner.schema()
    run = _tolerant(whole["properties"]["run"], ())
    return {**run, "$defs": _tolerant(whole["$defs"], ("$defs",))}


def _fault_by_schema(run: dict[str, Any]) -> str | None:
    import jsonschema  # noqa: PLC0415 - it takes long, and a good result does not need it

    validator = jsonschema.Draft202012Validator(_schema())
    error = jsonschema.exceptions.best_match(validator.iter_errors(run))
    if error is None:
        return None
    return f"{'/'.join(['run', *map(str, error.absolute_path)])}: {error.message[:200]}"


@functools.cache
def _quick() -> quick_schema.Check:
    return quick_schema.compiled(_schema())


def _tolerant(schema: Any, place: tuple[str, ...]) -> Any:
    """Return a part of the schema as an older or newer runner may have seen it."""
    if isinstance(schema, list):
        return [_tolerant(each, place) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {"required": list(_REQUIRED[place])} if place in _REQUIRED else {}
    for word, value in schema.items():
        if word == "properties":
            found[word] = {name: _tolerant(of, (*place, name)) for name, of in value.items()}
        elif word == "items":
            found[word] = _tolerant(value, (*place, "*"))
        elif word == "enum":
            found["type"] = sorted({"null" if each is None else "string" for each in value})
        elif word == "required" or (word == "additionalProperties" and value is False):
            continue
        else:
            found[word] = _tolerant(value, place)
    return found


def _fault_in(value: Any) -> str | None:
    """Return what is wrong with a number or text in value, names included, after its place."""
    if isinstance(value, str):
        return None if value.isascii() else _fault_of_text(value)
    if isinstance(value, (int, float)):
        return ": a number of 2^63 or more" if abs(value) >= _LARGEST else None
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, of in members:
        if (fault := _fault_in(name)) is not None:
            return fault
        if (fault := _fault_in(of)) is not None:
            return f"/{name}{fault}"
    return None


def _fault_of_counts(run: dict[str, Any]) -> str | None:
    """Return what is wrong with counted instructions, which are divided by the operations."""
    for number, case in enumerate(run.get("exact", {}).get("cases", ())):
        if min(case["instructions"], case["allocs"]) < 1:
            return f"run/exact/cases/{number}: counts nothing"
    for number, case in enumerate(run.get("where", ())):
        if case["operations"] < 1:
            return f"run/where/{number}: counts nothing"
        total = case["total"]
        known = isinstance(total.get("instructions"), int) and total.keys() >= _COUNTED
        if not known or not all(v is None or isinstance(v, int) for v in total.values()):
            return f"run/where/{number}/total: has not the sums of what was counted"
    return None


def _fault_of_text(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return ": has half a character in it"
    return None


def _fault_of_time(text: str) -> str | None:
    try:
        datetime.datetime.strptime(text, _TIME)
    except ValueError:
        return f"run/started_at: {text[:40]} is not a time like 2026-01-31T12:00:00Z"
    return None

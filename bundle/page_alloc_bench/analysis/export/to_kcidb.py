# SPDX-License-Identifier: GPL-2.0-only
"""Results as a report in KCIDB's I/O schema, version 5: what kernel CI systems send to KCIDB.

A run is a test, path page_alloc_bench; each of its figures is one below that, with its number. The
build is the kernel as far as the result knows it; somebody who has submitted theirs names it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from page_alloc_bench.analysis import per_run, tidy

ORIGIN = "page_alloc_bench"
# The newest minor version that has all fields used here, and none that an older 5 lacks is used.
VERSION = {"major": 5, "minor": 3}
_ROOT = "page_alloc_bench"

# Units of ours: the symbol there, how many of ours it is, and the kind of prefixes it takes.
_UNITS = {
    "ns": ("s", 1e9, "metric"),
    "bytes": ("B", 1.0, "binary"),
    "ppm": ("ppm", 1.0, None),
    "blocks/s": ("blocks/s", 1.0, "metric"),
}


def export(
    runs: Sequence[tidy.Run], stream: TextIO, origin: str = ORIGIN, build_id: str | None = None
) -> None:
    """Write the report. origin: the CI system's name. build_id: of a build submitted already."""
    report: dict[str, Any] = {"version": VERSION}
    if build_id is None:
        builds = {_build_id(run, origin): run for run in runs}
        report["checkouts"] = [_checkout(run, origin) for run in builds.values()]
        report["builds"] = [_build(run, origin) for run in builds.values()]
    report["tests"] = [
        test for run in runs for test in tests(run, origin, build_id or _build_id(run, origin))
    ]
    json.dump(report, stream, indent=1)
    stream.write("\n")


def _build_id(run: tidy.Run, origin: str) -> str:
    """Return a name for the kernel, the same for all its runs."""
    kernel = run.result.run["kernel"]
    known = (kernel["release"], kernel["version"], kernel["machine"], kernel["config"]["sha256"])
    return f"{origin}:{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"


def _checkout(run: tidy.Run, origin: str) -> dict[str, Any]:
    """Return the source of the kernel; nobody knows more of it on the host than the release."""
    kernel = run.result.run["kernel"]
    return {
        "id": _build_id(run, origin),
        "origin": origin,
        "comment": f"{kernel['release']} {kernel['version']}",
        "valid": True,
    }


def _build(run: tidy.Run, origin: str) -> dict[str, Any]:
    kernel = run.result.run["kernel"]
    build = {
        "id": _build_id(run, origin),
        "origin": origin,
        "checkout_id": _build_id(run, origin),
        "comment": f"{kernel['release']} {kernel['version']}",
        "architecture": re.sub(r"[^a-z0-9_]", "_", kernel["machine"].lower()),
        "status": "PASS",  # it boots
        "misc": {"config": kernel["config"]},
    }
    compiler = _compiler(run)
    return {**build, "compiler": compiler} if compiler else build


def _compiler(run: tidy.Run) -> str | None:
    """Return what compiled the module, which is what the kernel was compiled with."""
    release = run.result.run["kernel"]["release"]
    for module in run.result.run["bundle"].get("modules") or ():
        if isinstance(module, dict) and module.get("release") == release:
            return module.get("compiler")
    return None


def tests(run: tidy.Run, origin: str, build_id: str) -> Iterator[dict[str, Any]]:
    """Yield the run as a test, then its figures."""
    document = run.result.run
    common: dict[str, Any] = {"origin": origin, "build_id": build_id}
    if "started_at" in document:
        common["start_time"] = document["started_at"]
    root = {
        **common,
        "id": f"{origin}:{run.id}",
        "path": _ROOT,
        # Neither says a word about the kernel: a figure is not good or bad by itself.
        "status": "DONE" if document["complete"] else "ERROR",
        "environment": _environment(run),
        "misc": {"parameters": document["parameters"], "warnings": document["warnings"]},
    }
    duration = _duration_s(document)
    if duration is not None:
        root["duration"] = duration
    if not document["complete"]:
        root["comment"] = f"not complete: {run.facts.get('ended.reason', 'no reason given')}"
    yield root
    for statistic, value in per_run.statistics(run.result).items():
        if isinstance(value, per_run.Below):
            continue  # The schema has numbers, and no way to say that one is only a bound.
        case = statistic.case.suffix().lstrip("_").replace("order", "order_", 1)
        place = f"{case}.{statistic.metric}.{statistic.statistic}"
        place = re.sub(r"[^a-zA-Z0-9_.-]", "_", place.replace("p99.9", "p99_9"))
        yield {
            **common,
            "id": f"{origin}:{run.id}.{place}",
            "path": f"{_ROOT}.{place}",
            "status": "DONE",
            "number": _number(value, statistic.unit),
            "misc": {"better": statistic.better},
        }


def _number(value: float, unit: str) -> dict[str, Any]:
    symbol, scale, prefix = _UNITS.get(unit, (unit, 1.0, None))
    number: dict[str, Any] = {"value": value / scale, "unit": symbol}
    return {**number, "prefix": prefix} if prefix else number


def _environment(run: tidy.Run) -> dict[str, Any]:
    machine = run.result.run["machine"]
    cpu = machine.get("cpu_model") or "unknown CPU"
    return {
        "comment": f"{cpu}, CPUs {machine['cpus_used']}, {len(machine['nodes'])} node(s), "
        f"{machine['memory_bytes']} bytes",
        "misc": {"machine": machine, "cmdline": run.result.run["kernel"]["cmdline"]},
    }


def _duration_s(document: dict[str, Any]) -> float | None:
    """Return how long was measured; None if nothing was."""
    ends = [
        phase["start_s"] + phase["duration_s"]
        for phase in document["phases"]
        if "start_s" in phase and "duration_s" in phase
    ]
    return round(max(ends), 6) if ends else None

# SPDX-License-Identifier: GPL-2.0-only
"""Results as a database of FALBA, which keeps and compares results of benchmarks.

A database is a directory: TEST:ID/artifacts/ for each result, and parsers.json, which says what is
read from the artifacts. Besides the result itself, each metric and each fact is an artifact of its
own here: a parser whose artifact is absent finds nothing, while one that looks in vain for a name
inside an artifact ends the reading of the whole database. An array is so many samples of a metric.

FALBA compares groups of results in which all facts but one are the same. So what every run has of
its own is not a fact here: a number is a metric, and the rest is in the result only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page_alloc_bench import outputs
from page_alloc_bench.analysis import tidy
from page_alloc_bench.analysis.facts import Value, column, is_of_a_run
from page_alloc_bench.analysis.results import ResultError
from page_alloc_bench.runner.result.metrics import Kind

TEST_NAME = "page-alloc-bench"
_PARSERS = "parsers.json"
# The units that FALBA knows; any other in parsers.json ends the reading.
_UNITS = {"ns": "ns", "bytes": "B"}
_TYPES = {bool: "bool", int: "int", float: "float", str: "string"}
_NOT_SAMPLES = (Kind.HISTOGRAM, Kind.EDGES)


def export(runs: Sequence[tidy.Run], directory: Path) -> None:
    """Add the runs to the database in directory, which is made if there is none.

    Parsers that are there stay. Raises ResultError where one of ours would replace another's, or
    for a directory that is not a database.
    """
    parsers = _merge(directory, _parsers(runs))
    directory.mkdir(parents=True, exist_ok=True)
    for run in runs:
        _write_result(directory, _artifacts(run))
    os.sync()  # once, and not for each of some hundred artifacts of each run
    text = json.dumps({"parsers": parsers}, indent=4) + "\n"
    outputs.write(directory / _PARSERS, outputs.encoded(text))


def _artifacts(run: tidy.Run) -> dict[str, bytes]:
    """Return the content of each artifact by its path."""
    document = json.dumps(run.result.document, separators=(",", ":"))
    artifacts = {"result.json": document.encode()}
    for name, fact in _facts(run).items():
        artifacts[f"facts/{name}.json"] = json.dumps({"value": fact}).encode()
    for name, _, _, values in _metrics(run):
        artifacts[f"metrics/{name}.json"] = json.dumps({"values": values}).encode()
    return artifacts


def _facts(run: tidy.Run) -> dict[str, Value]:
    return {_name(name): value for name, value in run.facts.items() if not is_of_a_run(name)}


def _metrics(run: tidy.Run) -> list[tuple[str, str, str, list[Any]]]:
    """Return name, type, unit and values of what has values; histograms are not samples."""
    measured = [
        (each.key, "int", each.unit, each.values.tolist())
        for each in run.result.metrics.values()
        if each.values.size and each.metric.kind not in _NOT_SAMPLES
    ]
    of_host = [
        (_name(name), _TYPES[type(value)], "", [value])
        for name, value in run.facts.items()
        if is_of_a_run(name) and type(value) in (int, float)
    ]
    return measured + of_host


def _name(fact: str) -> str:
    return re.sub(r"\W", "_", column(fact))


def _parsers(runs: Sequence[tidy.Run]) -> dict[str, Any]:
    """Return a parser for each fact and each metric that any run has."""
    parsers: dict[str, Any] = {}
    for run in runs:
        for name, fact in _facts(run).items():
            target = {"name": name, "type": _TYPES[type(fact)]}
            parsers[f"fact_{name}"] = _parser(f"facts/{name}.json", "$.value", fact=target)
        for name, kind, unit, _ in _metrics(run):
            target = {"name": name, "type": kind}
            if unit in _UNITS:
                target["unit"] = _UNITS[unit]
            parsers[f"metric_{name}"] = _parser(f"metrics/{name}.json", "$.values", metric=target)
    return parsers


def _parser(artifact: str, path: str, **target: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "jsonpath",
        "artifact_regexp": f"^{artifact.replace('.', '[.]')}$",
        "jsonpath": path,
        **target,
    }


def _merge(directory: Path, ours: dict[str, Any]) -> dict[str, Any]:
    """Return the parsers of the database in directory with ours added."""
    path = directory / _PARSERS
    if not path.exists():
        if directory.is_dir() and any(directory.iterdir()):
            raise ResultError(directory, f"is not empty and no database of FALBA: no {_PARSERS}")
        return ours
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))["parsers"]
        clash = next((name for name in ours if theirs.get(name, ours[name]) != ours[name]), None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(path, f"is not a configuration of FALBA: {error!r}") from error
    if clash is not None:
        raise ResultError(path, f"has another parser called {clash}")
    return {**theirs, **ours}


def _write_result(directory: Path, artifacts: dict[str, bytes]) -> None:
    """Write a result's directory; leave it as it is if the database has it already."""
    digest = hashlib.sha256()
    for name in sorted(artifacts):
        digest.update(hashlib.sha256(artifacts[name]).digest())
    root = directory / f"{TEST_NAME}:{digest.hexdigest()[:12]}" / "artifacts"
    for name, content in artifacts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs.write(path, content, synced=False)

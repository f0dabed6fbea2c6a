# SPDX-License-Identifier: GPL-2.0-only
"""A reader of FALBA's databases, as strict as FALBA itself, which is written in Go.

From its README and from how it reads: an unknown field, an unknown unit, a path that is not in the
artifact and a fact found twice end the reading of the whole database; a value of another type is
only left out, which is an error here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

_FIELDS = {"type", "artifact_regexp", "metric", "fact", "jsonpath"}
_UNITS = {"ns", "us", "ms", "s", "B", "KiB", "MiB", "GiB"}
_RESERVED_FACTS = {"test_name", "result_id"}
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "string": (str,),
    "bool": (bool,),
}


class FalbaError(Exception):
    """FALBA would not read this."""


@dataclass
class FalbaResult:
    test_name: str
    result_id: str
    artifacts: dict[str, bytes]
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, list[Any]] = field(default_factory=dict)


def read(root: Path) -> list[FalbaResult]:
    """Return every result of the database in root. Raises FalbaError."""
    config = json.loads((root / "parsers.json").read_text())
    if set(config) != {"parsers"} or not config["parsers"]:
        raise FalbaError("parsers.json has parsers and nothing else")
    for name, parser in config["parsers"].items():
        _check(name, parser)
    entries = sorted(path for path in root.iterdir() if path.name != "parsers.json")
    return [_read_result(path, config["parsers"]) for path in entries]


@dataclass(frozen=True)
class Group:
    samples: int
    mean: float


def compared(results: list[FalbaResult], fact: str, metric: str) -> dict[str, Group]:
    """Return a metric of the results by a fact, as FALBA's cmp does it in DuckDB.

    Raises FalbaError where the results of a group differ in the test or in any other fact.
    """
    names = sorted({name for result in results for name in result.facts})
    others = [f'"{name}"' for name in names if name != fact]
    database = duckdb.connect()
    columns = ", ".join(f'"{name}" {_column(results, name)}' for name in names)
    database.execute(f"create table results (test_name varchar, result_id varchar, {columns})")
    database.execute("create table metrics (result_id varchar, metric varchar, value double)")
    for result in results:
        row = [result.test_name, result.result_id, *(result.facts.get(name) for name in names)]
        database.execute(f"insert into results values ({', '.join('?' * len(row))})", row)
        for value in result.metrics.get(metric, []):
            row = [result.result_id, metric, value]
            database.execute("insert into metrics values (?, ?, ?)", row)
    varied = database.execute(
        f'select "{fact}" from results group by "{fact}"'
        f" having count(distinct test_name || '-' || {' || '.join(others)}) > 1"
    ).fetchall()
    if varied:
        raise FalbaError(f"fact not a determinant: {fact}")
    told = database.execute(
        f'select "{fact}", count(*), avg(value) from results join metrics using (result_id)'
        f' group by "{fact}"'
    ).fetchall()
    return {str(value): Group(samples, mean) for value, samples, mean in told}


def _column(results: list[FalbaResult], fact: str) -> str:
    value = next(result.facts[fact] for result in results if fact in result.facts)
    return {bool: "boolean", int: "bigint", float: "double", str: "varchar"}[type(value)]


def _check(name: str, parser: dict[str, Any]) -> None:
    if parser.get("type") != "jsonpath":
        raise FalbaError(f"{name}: only jsonpath is known here")
    if not set(parser) <= _FIELDS or not parser.get("jsonpath"):
        raise FalbaError(f"{name}: fields {sorted(parser)}")
    if not parser.get("artifact_regexp"):
        raise FalbaError(f"{name}: no artifact_regexp")
    if ("metric" in parser) == ("fact" in parser):
        raise FalbaError(f"{name}: exactly one of metric and fact")
    target = parser.get("metric") or parser["fact"]
    allowed = {"name", "type", "unit"} if "metric" in parser else {"name", "type"}
    if not target.get("name") or target.get("type") not in _TYPES or not set(target) <= allowed:
        raise FalbaError(f"{name}: target {target}")
    if target.get("unit", "s") not in _UNITS:
        raise FalbaError(f"{name}: unknown unit {target['unit']}")
    if "fact" in parser and target["name"] in _RESERVED_FACTS:
        raise FalbaError(f"{name}: {target['name']} is reserved")


def _read_result(path: Path, parsers: dict[str, Any]) -> FalbaResult:
    test_name, colon, result_id = path.name.partition(":")
    if not colon or not test_name or not result_id:
        raise FalbaError(f"{path.name} is not TEST:ID")
    root = path / "artifacts"
    files = sorted(file for file in root.rglob("*") if file.is_file())
    result = FalbaResult(
        test_name, result_id, {str(file.relative_to(root)): file.read_bytes() for file in files}
    )
    for artifact, content in result.artifacts.items():
        for name, parser in parsers.items():
            if re.search(parser["artifact_regexp"], artifact):
                _apply(name, parser, result, content)
    return result


def _apply(name: str, parser: dict[str, Any], result: FalbaResult, content: bytes) -> None:
    found = _path(parser["jsonpath"], json.loads(content))
    values = found if isinstance(found, list) else [found]
    target = parser.get("metric") or parser["fact"]
    for value in values:
        wrong = isinstance(value, bool) and target["type"] != "bool"
        if wrong or not isinstance(value, _TYPES[target["type"]]):
            raise FalbaError(f"{name}: {value!r} is not of type {target['type']}")
    if "metric" in parser:
        result.metrics.setdefault(target["name"], []).extend(values)
    elif target["name"] in result.facts or len(values) != 1:
        raise FalbaError(f"fact {target['name']} has more than one value")
    else:
        result.facts[target["name"]] = values[0]


def _path(expression: str, value: Any) -> Any:
    """Return what a JSONPath of names only leads to."""
    root, *names = expression.split(".")
    if root != "$" or not names:
        raise FalbaError(f"{expression} is not of this reader's kind")
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise FalbaError(f"unknown key {name}")
        value = value[name]
    return value

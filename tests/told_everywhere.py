# SPDX-License-Identifier: GPL-2.0-only
"""What every export says of a metric, and a query of files and of a store, read by other means."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import click
import duckdb
from click.testing import CliRunner

import falba_reader
import otava_reader
from page_alloc_bench.cli import main
from page_alloc_bench.cli.export import export

FORMATS = next(
    parameter.type.choices
    for parameter in export.params
    if isinstance(parameter.type, click.Choice) and parameter.name == "form"
)


def values(metric: str, order: int, file: Path, place: Path) -> dict[str, list[float]]:
    """Return what each output says of a metric that has one value, by the name of the output.

    file: a result. place: a directory that is empty.
    """
    told = {form: _READ[form](metric, order, file, place) for form in FORMATS}
    sql = f"SELECT median FROM metrics WHERE metric = '{metric}' AND alloc_order = {order}"
    store = place / "store"
    _printed("store", "add", store, file)
    told["query"] = _asked(sql, file)
    told["store"] = _asked(sql, "--store", store)
    return told


def _printed(*arguments: object) -> str:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def _export(form: str, *arguments: object) -> str:
    return _printed("export", f"--format={form}", *arguments)


def _asked(sql: str, *where: object) -> list[float]:
    rows = json.loads(_printed("query", "--format=json", sql, *where))
    return [row["median"] for row in rows]


def _csv(metric: str, order: int, file: Path, _place: Path) -> list[float]:
    rows = csv.DictReader(io.StringIO(_export("csv", file)))
    wanted = (metric, str(order))
    return [float(row["value"]) for row in rows if (row["metric"], row["alloc_order"]) == wanted]


def _parquet(metric: str, order: int, file: Path, place: Path) -> list[float]:
    target = place / "rows.parquet"
    _export("parquet", "-o", target, file)
    sql = "SELECT value FROM read_parquet(?) WHERE metric = ? AND alloc_order = ?"
    return [row[0] for row in duckdb.execute(sql, [str(target), metric, order]).fetchall()]


def _openmetrics(metric: str, order: int, file: Path, _place: Path) -> list[float]:
    gauge = rf"^page_alloc_bench_{metric}(?:_\w+)?\{{[^}}]*alloc_order=\"{order}\"[^}}]*\}} (\S+)"
    return [float(text) for text in re.findall(gauge, _export("openmetrics", file), re.MULTILINE)]


def _kcidb(metric: str, order: int, file: Path, _place: Path) -> list[float]:
    path = f"page_alloc_bench.order_{order}.{metric}.median"
    tests = json.loads(_export("kcidb", file))["tests"]
    return [test["number"]["value"] for test in tests if test["path"] == path]


def _falba(metric: str, order: int, file: Path, place: Path) -> list[float]:
    _export("falba", "-o", place / "falba", file)
    [found] = falba_reader.read(place / "falba")
    return found.metrics[f"{metric}_order{order}"]


def _otava(metric: str, order: int, file: Path, _place: Path) -> list[float]:
    column = f"{metric}_order{order}:median"
    return otava_reader.read(_export("otava", file), [], [column]).data[column]


_READ = {
    "csv": _csv, "parquet": _parquet, "openmetrics": _openmetrics, "kcidb": _kcidb,
    "falba": _falba, "otava": _otava,
}  # fmt: skip

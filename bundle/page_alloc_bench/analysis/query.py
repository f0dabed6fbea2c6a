# SPDX-License-Identifier: GPL-2.0-only
"""Results as a database in memory: the views runs, metrics, samples and facts.

The files are read once and never written: whatever a statement changes is gone with the process.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

import duckdb
import numpy as np

from page_alloc_bench.runner.result import figures

from . import facts
from .results import Measured
from .tidy import Run, better

_TABLES = """
CREATE SCHEMA loaded;
CREATE TABLE loaded.runs (
    run_id VARCHAR, file VARCHAR, started_at TIMESTAMP, complete BOOLEAN, reason VARCHAR,
    release VARCHAR, version VARCHAR, machine VARCHAR, cmdline VARCHAR, config_sha256 VARCHAR,
    cpus_used VARCHAR, cpu_model VARCHAR, hypervisor VARCHAR, clocksource VARCHAR,
    nodes INTEGER, memory_bytes BIGINT, thp VARCHAR, seed UBIGINT, iterations INTEGER,
    latencies VARCHAR, tool_version VARCHAR, warnings INTEGER
);
CREATE TABLE loaded.metrics (
    key INTEGER, run_id VARCHAR, metric VARCHAR, alloc_order INTEGER, unit VARCHAR, better VARCHAR,
    chosen VARCHAR, n BIGINT, population BIGINT, min DOUBLE, mean DOUBLE, median DOUBLE, p95 DOUBLE,
    p99 DOUBLE, p99_9 DOUBLE, max DOUBLE
);
CREATE TABLE loaded.samples (key INTEGER, sample INTEGER, value BIGINT);
CREATE TABLE loaded.facts (run_id VARCHAR, name VARCHAR, value VARCHAR);
CREATE VIEW runs AS FROM loaded.runs;
CREATE VIEW facts AS FROM loaded.facts;
CREATE VIEW samples AS
    SELECT run_id, metric, alloc_order, sample, value, unit, better, chosen
    FROM loaded.samples JOIN loaded.metrics USING (key);
CREATE VIEW metrics AS
    SELECT
        run_id, metric, alloc_order, n, population, min::BIGINT AS min, mean, median, p95, p99,
        p99_9, max::BIGINT AS max, unit, better, chosen
    FROM loaded.metrics;
"""

_THP = "machine.thp.enabled"


@dataclass(frozen=True)
class Answer:
    """What a statement returned: the names of the columns, and rows of Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def connect(runs: Iterable[Run]) -> duckdb.DuckDBPyConnection:
    """Return a database in memory that has these runs in it."""
    # What does not fit into memory is an error: it would be spilled into the current directory.
    connection = duckdb.connect(":memory:", config={"temp_directory": ""})
    connection.execute(_TABLES)
    key = 0
    for run in runs:
        _insert(connection, "runs", [_run_row(run)])
        _insert(
            connection, "facts", [(run.id, name, facts.text(v)) for name, v in run.facts.items()]
        )
        key = _insert_metrics(connection, run, key)
    return connection


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """Return what the last of the statements returns. Raises duckdb.Error.

    The statements run in a thread: while they do, the handler of a signal would not be called, or
    its exception be taken for a fault of the statement. It interrupts them.
    """
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(_ask, connection, sql)
        try:
            return answer.result()
        except BaseException:
            connection.interrupt()
            raise


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    connection.execute(sql)
    columns = [column[0] for column in connection.description or ()]
    return Answer(columns, connection.fetchall() if columns else [])


def write_csv(answer: Answer, stream: TextIO) -> None:
    """Write an answer as CSV: a line of names, then the rows; nothing for NULL."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_plain(value) for value in row] for row in answer.rows)


def write_json(answer: Answer, stream: TextIO) -> None:
    """Write an answer as a JSON array with an object a row."""
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    json.dump(rows, stream, indent=1, default=_plain)
    stream.write("\n")


def text(value: Any) -> str:
    """Return a value as a table shows it; a fraction with what matters of it."""
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        if value.is_integer():
            return str(int(value))
        return f"{value:.1f}" if abs(value) >= 10_000 else f"{value:.6g}"
    return str(value)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[Any]]
) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO loaded.{table} VALUES ({marks})", rows)  # noqa: S608


def _insert_metrics(connection: duckdb.DuckDBPyConnection, run: Run, key: int) -> int:
    """Insert a run's metrics and all their values, numbered from key; return the next number."""
    metrics = list(run.result.metrics.values())
    if not metrics:
        return key
    keys = range(key, key + len(metrics))
    _insert(
        connection,
        "metrics",
        [
            (
                number,
                run.id,
                m.name,
                m.order,
                m.unit,
                better(m),
                m.case.choice,
                m.values.size,
                *_figures(run, m),
            )
            for number, m in zip(keys, metrics, strict=True)
        ],
    )
    sizes = [metric.values.size for metric in metrics]
    values = {
        "key": np.repeat(np.array(keys, np.int32), sizes),
        "sample": np.concatenate([np.arange(1, size + 1, dtype=np.int32) for size in sizes]),
        "value": np.concatenate([metric.values for metric in metrics]),
    }
    connection.register("values_of_run", values)
    connection.execute("INSERT INTO loaded.samples SELECT key, sample, value FROM values_of_run")
    connection.unregister("values_of_run")
    return keys.stop


def _figures(run: Run, measured: Measured) -> Iterator[float | None]:
    """Yield of how many the figures of a metric are, and these as show tells them.

    None for one that is not known.

    The median is there even of one value or two, so that it stands for what has but one.
    """
    result = run.result
    known = figures.of(result.counts, result.run, measured.name, measured.case)
    yield known.size
    for name in figures.NAMES:
        figure = known.get(name)
        if figure is not None:
            yield figure.value if figure.known else None
        else:
            yield known.distribution.quantile(0.5) if name == "median" and known.size else None


def _run_row(run: Run) -> tuple[Any, ...]:
    result, known = run.result.run, run.facts
    kernel, machine = result["kernel"], result["machine"]
    started = result.get("started_at")
    return (
        run.id,
        run.file,
        started and started.removesuffix("Z"),
        result["complete"],
        known.get("ended.reason"),
        kernel["release"],
        kernel["version"],
        kernel["machine"],
        kernel["cmdline"],
        kernel["config"]["sha256"],
        machine["cpus_used"],
        machine.get("cpu_model"),
        machine.get("hypervisor"),
        machine["clocksource"],
        len(machine["nodes"]),
        machine["memory_bytes"],
        known.get(_THP),
        result.get("seed"),
        known.get("parameters.iterations"),
        known.get("parameters.latencies"),
        result["tool_version"],
        len(result["warnings"]),
    )


def _plain(value: Any) -> Any:
    """Return a value as CSV and JSON can have it."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value if isinstance(value, str | int | float | None) else str(value)

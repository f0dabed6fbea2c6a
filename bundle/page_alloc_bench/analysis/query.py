# SPDX-License-Identifier: GPL-2.0-only
"""Results as a database: the views runs, metrics, samples and facts.

They are views of a table that has a row for each metric of a run, and one for the run: as a store
keeps them in files, and as they are made in memory from result files. These are read once and
never written: whatever a statement changes is gone with the process.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

import duckdb
import numpy as np

from page_alloc_bench.runner.result import figures

from . import facts
from .results import Measured
from .tidy import Run, better

# What the columns of a metric are in the list `figures`, in its order.
FIGURES = ("n", "population", *(name.replace(".", "_") for name in figures.NAMES))
# run: the object under "run" as JSON, in the row that has no metric. vals: the values.
COLUMNS = (
    "run_id VARCHAR, file VARCHAR, metric VARCHAR, alloc_order INTEGER, chosen VARCHAR, "
    "unit VARCHAR, better VARCHAR, figures DOUBLE[], vals BIGINT[], run VARCHAR"
)
# What JSON has of each metric, as DuckDB wants it described. One statement for all of them: it
# takes a hundredth of the time of one for each.
_ROWS = json.dumps(
    [
        {
            "metric": "VARCHAR",
            "alloc_order": "INTEGER",
            "chosen": "VARCHAR",
            "unit": "VARCHAR",
            "better": "VARCHAR",
            "figures": ["DOUBLE"],
        }
    ]
)
# The types whose values Python has as they are, with no more and no less.
_PYTHON_HAS = (
    "boolean", "tinyint", "smallint", "integer", "bigint", "hugeint",
    "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint",
    "float", "double", "decimal", "varchar", "null", "date",
    "timestamp", "timestamp_s", "timestamp_ms",
)  # fmt: skip
_ENDLESS = {
    datetime.datetime.max: "infinity",
    datetime.datetime.min: "-infinity",
    datetime.date.max: "infinity",
    datetime.date.min: "-infinity",
}
# 2^63 - 1, which a result may have, is 2^63 as a DOUBLE, and that is not a BIGINT.
_WHOLE = (
    "CASE WHEN figures[{0}] >= 9223372036854775808 THEN 9223372036854775807 "
    "ELSE figures[{0}]::BIGINT END"
)
_WHOLE_NUMBERS = ("n", "population", "min", "max")
_RUN_COLUMNS = {
    "complete": "complete::BOOLEAN",
    "reason": "ended.reason",
    "release": "kernel.release",
    "version": "kernel.version",
    "machine": "kernel.machine",
    "cmdline": "kernel.cmdline",
    "config_sha256": "kernel.config.sha256",
    "cpus_used": "machine.cpus_used",
    "cpu_model": "machine.cpu_model",
    "hypervisor": "machine.hypervisor",
    "clocksource": "machine.clocksource",
    "nodes": "machine.nodes#INTEGER",
    "memory_bytes": "machine.memory_bytes::BIGINT",
    "thp": "machine.thp.enabled",
    "seed": "seed::BIGINT",
    "iterations": "parameters.iterations::BIGINT",
    "latencies": "parameters.latencies",
    "tool_version": "tool_version",
    "warnings": "warnings#INTEGER",
}


@dataclass(frozen=True)
class Answer:
    """What a statement returned: the names of the columns, and rows of Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def connect(runs: Iterable[Run]) -> duckdb.DuckDBPyConnection:
    """Return a database in memory that has these runs in it, in the table loaded.stored."""
    connection = open_database()
    connection.execute(f"CREATE SCHEMA loaded; CREATE TABLE loaded.stored ({COLUMNS})")
    for run in runs:
        _insert(connection, run)
    make_views(connection, "loaded.stored")
    return connection


def open_database() -> duckdb.DuckDBPyConnection:
    """Return a database in memory; what does not fit there is an error.

    It would be spilled into the current directory. A name that is not a table's is not looked for
    among the variables of this program.
    """
    config: dict[str, Any] = {"temp_directory": "", "python_enable_replacements": False}
    return duckdb.connect(":memory:", config=config)


def make_views(connection: duckdb.DuckDBPyConnection, stored: str, figures: str = "") -> None:
    """Make the views of a table that has COLUMNS.

    figures: another table, that of a store: it has the figures alone, which is quicker. Both tables
    then have release and host too, and so do the views runs and metrics.
    """
    of_run, of_metric = ("host, ", "release, host, ") if figures else ("", "")
    named = ", ".join(
        f"{_WHOLE.format(place) if name in _WHOLE_NUMBERS else f'figures[{place}]'} AS {name}"
        for place, name in enumerate(FIGURES, 1)
    )
    told = ", ".join(f"{_from_json(text)} AS {name}" for name, text in _RUN_COLUMNS.items())
    connection.create_function("facts_of", _facts_of, ["VARCHAR"], "VARCHAR")
    connection.execute(
        f"CREATE VIEW runs AS SELECT run_id, file, {of_run}"
        f"rtrim(run->>'$.started_at', 'Z')::TIMESTAMP AS started_at, {told} "
        f"FROM {stored} WHERE metric IS NULL; "
        f"CREATE VIEW metrics AS SELECT run_id, {of_metric}metric, alloc_order, {named}, unit, "
        f"better, chosen FROM {figures or stored} WHERE metric IS NOT NULL; "
        "CREATE VIEW samples AS SELECT run_id, metric, alloc_order, "
        "unnest(range(1, len(vals) + 1))::INTEGER AS sample, unnest(vals) AS value, unit, better, "
        f"chosen FROM {stored} WHERE metric IS NOT NULL; "
        "CREATE VIEW facts AS SELECT run_id, fact[1] AS name, fact[2] AS value FROM (SELECT run_id,"
        "unnest(from_json(facts_of(run), '[[\"VARCHAR\"]]')) AS fact "
        f"FROM {stored} WHERE metric IS NULL)"
    )


def _from_json(text: str) -> str:
    """Return SQL for one of _RUN_COLUMNS: a path, with ::TYPE, or #TYPE for how many it has."""
    path, hash_, count = text.partition("#")
    if hash_:
        return f"json_array_length(run, '$.{path}')::{count}"
    path, colons, kind = text.partition("::")
    return f"(run->>'$.{path}'){colons}{kind}"


def _facts_of(run: str) -> str:
    """Return the facts of a run as a JSON list of names and values."""
    flat = facts.flatten(json.loads(run))
    return json.dumps([(name, facts.text(value)) for name, value in flat.items()])


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
    found = connection.sql(sql)
    if found is None:
        return Answer([], [])
    taken = (
        f"#{place}" if (read := _read_as(kind)) == str(kind) else f"#{place}::{read}"
        for place, kind in enumerate(found.types, 1)
    )
    return Answer(found.columns, found.project(", ".join(taken)).fetchall())


def _read_as(kind: Any) -> str:
    """Return the type to read a value as: text what Python would change, or not take at all."""
    if kind.id in ("list", "array"):
        child = dict(kind.children)["child"]
        return str(kind) if _read_as(child) == str(child) else f"{_read_as(child)}[]"
    if kind.id == "map":
        return f"MAP(VARCHAR, {_read_as(dict(kind.children)['value'])})"
    if kind.id == "struct":
        if all(_read_as(child) == str(child) for _, child in kind.children):
            return str(kind)
        fields = [
            f'"{name.replace(chr(34), chr(34) * 2)}" {_read_as(child)}'
            for name, child in kind.children
            if name
        ]
        whole = len(fields) == len(kind.children)
        return f"STRUCT({', '.join(fields)})" if whole else "VARCHAR"
    return str(kind) if kind.id in _PYTHON_HAS else "VARCHAR"


def write_csv(answer: Answer, stream: TextIO) -> None:
    """Write an answer as CSV: a line of names, then the rows; nothing for NULL."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_plain(value) for value in row] for row in answer.rows)


def write_json(answer: Answer, stream: TextIO) -> None:
    """Write an answer as a JSON array with an object a row.

    Of columns with the same name, all but the first get a number behind it. What JSON has no number
    for, such as infinity, is null.
    """
    names: list[str] = []
    for name in answer.columns:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        names.append(name if name not in names else next(n for n in numbered if n not in names))
    rows = [dict(zip(names, map(_as_json, row), strict=True)) for row in answer.rows]
    json.dump(rows, stream, indent=1, allow_nan=False)
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


def _insert(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Insert a run: its metrics with all their values, and what is known of it."""
    about = json.dumps(run.result.run, separators=(",", ":"))
    metrics = list(run.result.metrics.values())
    if metrics:
        rows = json.dumps([_row(run, metric) for metric in metrics])
        connection.execute(
            "INSERT INTO loaded.stored SELECT ?, ?, metric, alloc_order, chosen, unit, better, "
            f"figures, [], NULL FROM (SELECT unnest(from_json(?, '{_ROWS}'), recursive := true))",
            [run.id, run.file, rows],
        )
        _set_values(connection, run.id, metrics)
    connection.execute(
        "INSERT INTO loaded.stored (run_id, file, run) VALUES (?, ?, ?)", [run.id, run.file, about]
    )


def _row(run: Run, metric: Measured) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "alloc_order": metric.order,
        "chosen": metric.case.choice,
        "unit": metric.unit,
        "better": better(metric),
        "figures": [metric.values.size, *_figures(run, metric)],
    }


def _set_values(
    connection: duckdb.DuckDBPyConnection, run_id: str, metrics: list[Measured]
) -> None:
    """Set the values of all metrics of a run in one go: numpy's arrays are not copied."""
    sizes = [metric.values.size for metric in metrics]
    values = {
        "place": np.repeat(np.arange(len(metrics), dtype=np.int32), sizes),
        "sample": np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
        "value": np.concatenate([metric.values for metric in metrics]),
    }
    names = {
        "place": np.arange(len(metrics), dtype=np.int32),
        "metric": np.array([metric.name for metric in metrics]),
        "alloc_order": np.array([metric.order for metric in metrics], np.int32),
        "chosen": np.array([metric.case.choice for metric in metrics]),
    }
    connection.register("values_of_run", values)
    connection.register("names_of_run", names)
    connection.execute(
        "UPDATE loaded.stored AS s SET vals = v.vals FROM (SELECT metric, alloc_order, chosen, "
        "list(value ORDER BY sample) AS vals FROM values_of_run JOIN names_of_run USING (place) "
        "GROUP BY ALL) AS v WHERE s.run_id = ? AND s.metric = v.metric AND "
        "s.alloc_order = v.alloc_order AND s.chosen = v.chosen",
        [run_id],
    )
    connection.unregister("values_of_run")
    connection.unregister("names_of_run")


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


def _as_json(value: Any) -> Any:
    """Return a value as JSON can have it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    return value if isinstance(value, bool) else _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as a field of CSV can have it."""
    if isinstance(value, datetime.datetime | datetime.date):
        return _ENDLESS.get(value) or value.isoformat()
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value if isinstance(value, str | int | float | None) else str(value)

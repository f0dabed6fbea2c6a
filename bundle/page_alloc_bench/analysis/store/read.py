# SPDX-License-Identifier: GPL-2.0-only
"""Look at the runs of a store: by SQL, or as the results that compare and trend take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from page_alloc_bench.analysis import fact_filter, per_run, query
from page_alloc_bench.analysis.fact_filter import Filter
from page_alloc_bench.analysis.results import Measured, Result, ResultError
from page_alloc_bench.runner.result.case import Case
from page_alloc_bench.runner.result.metrics import UndeclaredError, declared

from . import index, keep
from .place import Store, Stored, StoreError, fault_of

Note = Callable[[str], object]

_ALIASES = {"release": "kernel.release", "host": "host_id"}
_AND = " AND "


def connect(store: Store, note: Note) -> duckdb.DuckDBPyConnection:
    """Return a database that reads the files of a store as it is asked.

    Besides what query.connect() has, runs and metrics have release and host. note: is told of a
    file that is left out.
    """
    connection = query.open_database()
    whole = usable(store, note)
    _tell_where(connection, whole)
    # The views are bound to this, and not to ten thousand files each; they are bound again when
    # they are asked for.
    connection.execute(f"CREATE TABLE stored ({query.COLUMNS}, release VARCHAR, host VARCHAR)")
    if not whole:
        query.make_views(connection, "stored", "stored")
        return connection
    index.table(connection, "whole", [(f"{store.root}/{r.place}", r.place) for r in whole])
    files, lacking = index.cover(connection, store, whole)
    taken = [(str(path), run.place) for path, runs in files.items() for run in runs]
    index.table(connection, "taken", taken)
    index.table(connection, "lacking", [(f"{store.root}/{r.place}", r.place) for r in lacking])
    parts = [_joined(index.FIGURES, name) for name, has in _parts(taken, lacking) if has]
    connection.execute(f"CREATE VIEW gathered AS {' UNION ALL '.join(parts)}")
    query.make_views(connection, "stored", "gathered")
    connection.execute(f"DROP TABLE stored; CREATE VIEW stored AS {_joined('*', 'whole')}")
    return connection


def _parts(taken: Sequence[object], lacking: Sequence[object]) -> list[tuple[str, bool]]:
    return [("taken", bool(taken)), ("lacking", bool(lacking))]


def _joined(columns: str, name: str) -> str:
    """Return SQL for rows of the files that a table names, with the release and host of each."""
    place = "AND s.place = t.place" if name == "taken" else ""
    return (
        f"SELECT s.{columns.replace(', ', ', s.')}, w.release, w.host "
        f"FROM {index.READ.format(name)} AS s JOIN {name} AS t ON s.filename = t.path {place} "
        "JOIN located AS w ON w.place = t.place"
    )


def _tell_where(connection: duckdb.DuckDBPyConnection, whole: Sequence[Stored]) -> None:
    """Make the table `located`: place, release and host of each run."""
    connection.execute("CREATE TABLE located (place VARCHAR, release VARCHAR, host VARCHAR)")
    if whole:
        rows = np.array([(r.place, r.release, r.host) for r in whole])
        columns = {name: rows[:, at] for at, name in enumerate(("place", "release", "host"))}
        connection.register("rows", columns)
        connection.execute("INSERT INTO located FROM rows")
        connection.unregister("rows")


def usable(store: Store, note: Note) -> list[Stored]:
    """Return the files of runs that are whole; note is told of each that is not."""
    whole, torn = store.whole()
    for stored, fault in torn:
        note(f"{stored.path}: {fault}; left out")
    return whole


def faults(store: Store) -> Iterator[tuple[Path, str]]:
    """Yield each file that cannot be read whole, or is not where its run belongs, with why."""
    with query.open_database() as connection:
        for stored in store.listed():
            fault = _fault(connection, stored)
            if fault:
                yield stored.path, fault


def _fault(connection: duckdb.DuckDBPyConnection, stored: Stored) -> str:
    cut = fault_of(stored.path)
    if cut is not None:
        return cut
    try:
        result = _result(connection, stored)
    except ResultError as error:
        return str(error).removeprefix(f"{stored.path}: ")
    release, host = result.run["kernel"]["release"], keep.host_of(result)
    if (release, host) == (stored.release, stored.host):
        return ""
    return f"is a run of {release} on {host}, which does not belong there"


def parse(texts: Sequence[str]) -> list[Filter]:
    """Return the conditions in texts such as "release=6.1.* AND host=4f*". Raises FilterError.

    They are as --filter has them; release and host are short for kernel.release and host_id.
    """
    found = [fact_filter.parse(part.strip()) for text in texts for part in text.split(_AND)]
    return [Filter(_ALIASES.get(each.name, each.name), each.pattern) for each in found]


def load(store: Store, conditions: Sequence[Filter], note: Note) -> list[Result]:
    """Return the runs that meet all conditions by their time, with the samples that are kept.

    Raises StoreError or FilterError if no run does, and StoreError for a file that cannot be read.
    """
    by_path = {"kernel.release": "release", "host_id": "host"}
    stored = [
        run
        for run in usable(store, note)
        if all(
            fnmatchcase(getattr(run, by_path[c.name]), c.pattern)
            for c in conditions
            if c.name in by_path
        )
    ]
    with query.open_database() as connection:
        results = [_result(connection, run) for run in stored]
    results.sort(key=lambda result: (result.started_at, result.path))
    told = " AND ".join(map(str, conditions))
    if not results:
        raise StoreError(store.root, f"no run has {told}" if told else "there is no run in it")
    rest = [c for c in conditions if c.name not in by_path]
    return fact_filter.chosen(results, rest)


def _result(connection: duckdb.DuckDBPyConnection, stored: Stored) -> Result:
    """Return the run in a file. Raises StoreError."""
    try:
        rows = connection.execute(
            "SELECT metric, alloc_order, chosen, vals, tested, run FROM read_parquet(?)",
            [str(stored.path)],
        ).fetchall()
    except duckdb.Error as error:
        said = str(error).partition("\n")[0]  # the rest is the statement
        raise StoreError(stored.path, f"cannot be read: {said}") from error
    run: dict[str, Any] | None = None
    metrics: dict[tuple[str, Case], Measured] = {}
    kept: dict[per_run.Statistic, float] = {}
    for name, order, chosen, values, tested, about in rows:
        if name is None:
            run = json.loads(about)
            continue
        case = _case(order, chosen)
        try:
            metric = declared(name)
        except UndeclaredError as error:
            raise StoreError(stored.path, f"{error}: a newer version made this run") from error
        if values is not None:
            metrics[name, case] = Measured(metric, case, np.array(values, np.int64))
        for statistic, value, below in json.loads(tested or "[]"):
            of = per_run.statistic_of(metric, statistic, case)
            kept[of] = per_run.Below(value) if below else value
    if run is None:
        raise StoreError(stored.path, "is not the file of a run")
    return Result(stored.path, run, metrics, kept)


def _case(order: int, chosen: str) -> Case:
    pairs = (part.partition("=") for part in chosen.split())
    return Case(order, tuple((axis, value) for axis, _, value in pairs))

# SPDX-License-Identifier: GPL-2.0-only
"""Figures of many runs in one file: a query opens a few files, not one for each run.

The index is a help, and no more. It is made from the files of the runs and says of which; what it
lacks is read from these. Whoever adds runs completes it, one at a time: to save work, since a run
that is in two of its files is taken from one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np

from page_alloc_bench import outputs
from page_alloc_bench.analysis import parquet
from page_alloc_bench.analysis.query import open_database

from .place import Store, Stored, fault_of

ENOUGH = 200  # runs that the index lacks; fewer are read one by one in a tenth of a second
# The Parquet files that a table of this name has; each row with that of its file.
READ = "read_parquet(getvariable('{}'), filename = true)"
FIGURES = "run_id, metric, alloc_order, chosen, unit, better, figures"


def complete(store: Store, enough: int = ENOUGH) -> int:
    """Gather the figures of the runs that the index lacks, if they are enough; return how many.

    A run whose file is damaged is left to those who read it. Raises outputs.OutputError.
    """
    with _alone(store) as mine, open_database() as connection:
        if not mine:
            return 0
        _, lacking = cover(connection, store, store.whole()[0])
        if len(lacking) >= enough:
            lacking = [run for run in lacking if _has_figures(connection, run.path)]
        if len(lacking) < max(1, enough):
            return 0
        table(connection, "lacking", [(f"{store.root}/{run.place}", run.place) for run in lacking])
        with outputs.OutputFile(store.index / f"{os.urandom(8).hex()}.parquet") as stream:
            sql = (
                f"SELECT {FIGURES}, place FROM {READ.format('lacking')} AS s "
                "JOIN lacking ON s.filename = lacking.path WHERE metric IS NOT NULL"
            )
            parquet.write(connection, sql, stream)
        return len(lacking)


def cover(
    connection: duckdb.DuckDBPyConnection, store: Store, whole: Sequence[Stored]
) -> tuple[dict[Path, list[Stored]], list[Stored]]:
    """Return the files of the index with the runs to take from each, and the runs in none."""
    left = {run.place: run for run in whole}
    files: dict[Path, list[Stored]] = {}
    for path in _files(store):
        try:
            rows = connection.execute("SELECT DISTINCT place FROM read_parquet(?)", [str(path)])
        except duckdb.Error:  # damaged: its runs are read one by one
            continue
        found = [left.pop(place) for (place,) in rows.fetchall() if place in left]
        if found:
            files[path] = found
    return files, list(left.values())


def table(
    connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[tuple[str, str]]
) -> None:
    """Make a table of files and of the places in the store that they stand for: path, place.

    The variable of its name has the paths, for READ.
    """
    connection.execute(f"CREATE TABLE {name} (path VARCHAR, place VARCHAR)")
    if rows:
        paths, places = zip(*rows, strict=True)
        columns = {"path": np.array(paths), "place": np.array(places)}
        connection.register("rows", columns)
        connection.execute(f"INSERT INTO {name} FROM rows")
        connection.unregister("rows")
    connection.execute(f"SET VARIABLE {name} = (SELECT list(DISTINCT path) FROM {name})")


def _has_figures(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Return whether the file of a run has something for the index that can be read."""
    columns = ", ".join(f"count({name})" for name in FIGURES.split(", "))
    try:
        found = connection.execute(
            f"SELECT count(metric), {columns} FROM read_parquet(?)", [str(path)]
        ).fetchone()
    except duckdb.Error:
        return False
    return bool(found and found[0])


def _files(store: Store) -> list[Path]:
    try:
        names = sorted(os.listdir(store.index))
    except FileNotFoundError:
        return []
    paths = [store.index / name for name in names if not name.startswith(".")]
    return [path for path in paths if path.suffix == ".parquet" and fault_of(path) is None]


@contextmanager
def _alone(store: Store) -> Iterator[bool]:
    """Yield whether no other process completes the index now."""
    try:
        os.makedirs(store.index, exist_ok=True)
        lock = open(store.index / "lock", "w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise outputs.OutputError(f"cannot write {store.index}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another has it, or there are no locks here
            yield False
        else:
            yield True

# SPDX-License-Identifier: GPL-2.0-only
"""Tidy rows as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from page_alloc_bench.analysis import facts as fact_names
from page_alloc_bench.analysis import parquet, query, tidy

_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}


def export(runs: Sequence[tidy.Run], stream: BinaryIO, facts: Sequence[str] = ()) -> None:
    """Write a row for each value to stream; facts: names of those to add to the chief ones.

    Raises ResultError for a fact that no run has.
    """
    names = tidy.fact_columns(runs, facts)
    with query.connect(runs) as connection:
        columns = ", ".join(
            f"{_quoted(fact_names.column(name))} {_type(runs, name)}" for name in names
        )
        connection.execute(f"CREATE TABLE about (run_id VARCHAR, file VARCHAR, {columns})")
        marks = ", ".join("?" * (len(names) + 2))
        connection.executemany(
            f"INSERT INTO about VALUES ({marks})",
            [(run.id, run.file, *(run.facts.get(name) for name in names)) for run in runs],
        )
        selected = ", ".join(map(_quoted, tidy.header(names)))
        parquet.write(
            connection,
            f"SELECT {selected} FROM samples JOIN about USING (run_id)",
            stream,
        )


def _quoted(name: str) -> str:
    """Return a column's name for SQL, whatever a result calls its facts."""
    return '"' + name.replace('"', '""') + '"'


def _type(runs: Sequence[tidy.Run], name: str) -> str:
    """Return the type of a fact's column: text where runs do not agree."""
    types = {type(run.facts[name]) for run in runs if name in run.facts}
    return _TYPES[types.pop()] if len(types) == 1 else "VARCHAR"

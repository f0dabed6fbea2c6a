# SPDX-License-Identifier: GPL-2.0-only
"""Put runs into a store.

What is kept of a run is everything but the sampled latencies, which are kept if that is asked for:
its facts, all counts and histograms, and the figures as they follow from the samples.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from page_alloc_bench import outputs
from page_alloc_bench.analysis import parquet, per_run, query
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.analysis.tidy import Run
from page_alloc_bench.runner.result.metrics import Kind

from .place import UNKNOWN_HOST, Store, fault_of


def add(store: Store, runs: Iterable[Run], *, samples: bool = False) -> Iterator[tuple[Run, bool]]:
    """Put runs into the store; yield each with whether it is new there.

    samples: keep the sampled latencies too; a run that is there without them is replaced, and so
    is one whose file is damaged. A run is there whole or not at all, whenever this process ends.
    Raises outputs.OutputError.
    """
    for run in runs:
        path = store.place_of(run.result.run["kernel"]["release"], host_of(run.result), run.id)
        if _is_there(path, samples=samples):
            yield run, False
            continue
        _make_directory(path.parent)
        with outputs.OutputFile(path) as stream, query.connect([run]) as connection:
            _take_statistics(connection, run, samples=samples)
            # In one order, so that a run has the same bytes wherever it is put into a store.
            sql = "FROM kept ORDER BY metric, alloc_order, chosen"
            parquet.write(connection, sql, stream, level=19)
        yield run, True


def host_of(result: Result) -> str:
    """Return the identity of the host that a run was made on; older results do not tell it."""
    return result.run.get("host_id") or UNKNOWN_HOST


def _is_there(path: Path, *, samples: bool) -> bool:
    """Return whether a run is there whole, and with samples if they are wanted."""
    if fault_of(path) is not None:
        return False
    # Samples that were left out are NULL; what is there is read, and so proved to be whole.
    sql = "SELECT count(*) FILTER (metric IS NOT NULL AND vals IS NULL), max(length(run)), "
    with query.open_database() as connection:
        try:
            found = connection.execute(
                f"{sql} count(figures), count(tested) FROM read_parquet(?)", [str(path)]
            ).fetchone()
        except duckdb.Error:
            return False
    return found is not None and not (samples and found[0])


def _make_directory(path: Path) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise outputs.OutputError(f"cannot make {path}: {error.strerror}") from error


def _take_statistics(connection: duckdb.DuckDBPyConnection, run: Run, *, samples: bool) -> None:
    """Make the table `kept`: a row for each metric, and one that has the object under "run"."""
    tested: dict[tuple[Any, ...], list[Sequence[Any]]] = {}
    for statistic, value in per_run.statistics(run.result).items():
        below = isinstance(value, per_run.Below)
        where = (statistic.metric, statistic.case.order, statistic.case.choice)
        tested.setdefault(where, []).append((statistic.statistic, float(value), below))
    sampled = [m.name for m in run.result.metrics.values() if m.metric.kind is Kind.SAMPLE]
    left_out = json.dumps([] if samples else sorted(set(sampled)))
    rows = [(*where, json.dumps(them)) for where, them in tested.items()]
    connection.execute(
        "CREATE TABLE kept AS SELECT stored.* EXCLUDE (vals), "
        "CASE WHEN list_contains(from_json(?, '[\"VARCHAR\"]'), metric) THEN NULL ELSE vals END "
        "AS vals, tested.tested FROM loaded.stored LEFT JOIN (SELECT row[1] AS metric, "
        "row[2]::INTEGER AS alloc_order, row[3] AS chosen, row[4] AS tested FROM "
        "(SELECT unnest(from_json(?, '[[\"VARCHAR\"]]')) AS row)) AS tested "
        "USING (metric, alloc_order, chosen)",
        [left_out, json.dumps(rows)],
    )

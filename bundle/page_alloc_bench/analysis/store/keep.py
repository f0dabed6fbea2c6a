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

from .place import UNKNOWN_HOST, Store


def add(store: Store, runs: Iterable[Run], *, samples: bool = False) -> Iterator[tuple[Run, bool]]:
    """Put runs into the store; yield each with whether it is new there.

    samples: keep the sampled latencies too; a run that is there without them is replaced. A run
    is there whole or not at all, whenever this process ends. Raises outputs.OutputError.
    """
    for run in runs:
        path = store.place_of(run.result.run["kernel"]["release"], host_of(run.result), run.id)
        if path.exists() and not (samples and not has_samples(path)):
            yield run, False
            continue
        _make_directory(path.parent)
        with outputs.OutputFile(path) as stream, query.connect([run]) as connection:
            _take_statistics(connection, run, samples=samples)
            parquet.write(connection, "FROM kept", stream, level=19)
        yield run, True


def host_of(result: Result) -> str:
    """Return the identity of the host that a run was made on; older results do not tell it."""
    return result.run.get("host_id") or UNKNOWN_HOST


def has_samples(path: Path) -> bool:
    """Return whether the file of a run has sampled latencies, if there were any."""
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT count(*) FROM read_parquet(?) WHERE metric IS NOT NULL AND vals IS NULL",
            [str(path)],
        ).fetchone()
    return found == (0,)


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

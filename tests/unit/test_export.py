# SPDX-License-Identifier: GPL-2.0-only
"""Other tools read what is exported, and find in it what the result says."""

from __future__ import annotations

import csv
import datetime
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exported import FILES, call, cut_short, edited, export
from page_alloc_bench.analysis import facts, results, tidy


@pytest.fixture(scope="module")
def runs() -> list[tidy.Run]:
    return tidy.runs(map(results.load, FILES), pytest.fail)


@pytest.fixture(scope="module")
def csv_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    export("csv", *FILES, "-o", path)
    return path


@pytest.fixture(scope="module")
def parquet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parquet") / "rows's.parquet"
    assert call("export", *FILES, "-o", path).exit_code == 0
    return path


def check_frame(frame: pd.DataFrame, runs: list[tidy.Run]) -> None:
    """Hold every value of a frame to the results."""
    assert len(frame) == sum(m.values.size for run in runs for m in run.result.metrics.values())
    for run in runs:
        mine = frame[frame.run_id == run.id]
        assert set(mine.file) == {run.file}
        assert set(mine.kernel_release) == {run.facts["kernel.release"]}
        assert set(mine.complete) == {True}
        for metric in run.result.metrics.values():
            rows = mine[(mine.metric == metric.name) & (mine.alloc_order == metric.order)]
            rows = rows.sort_values("sample")
            assert rows["value"].tolist() == metric.values.tolist()
            assert rows["sample"].tolist() == list(range(1, metric.values.size + 1))
            assert set(rows.unit) <= {metric.unit}
            assert set(rows.better) <= {metric.better or "neither"}


def test_pandas_reads_every_value_from_csv(csv_file: Path, runs: list[tidy.Run]) -> None:
    check_frame(pd.read_csv(csv_file), runs)


def test_pandas_reads_every_value_from_parquet(parquet_file: Path, runs: list[tidy.Run]) -> None:
    check_frame(pd.read_parquet(parquet_file), runs)


def test_the_names_of_facts_are_no_sql(tmp_path: Path) -> None:
    spoilt, target = tmp_path / "spoilt.json", tmp_path / "rows.parquet"
    document = results.load(FILES[0]).document
    name = f"A INT); COPY (SELECT 1) TO '{tmp_path}/planted'; CREATE TABLE x (\""
    document["run"]["kernel"]["config"]["options"] = {name: "y"}
    spoilt.write_text(json.dumps(document))
    done = call("export", spoilt, "-o", target, "--fact", "all")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.parquet", "spoilt.json"]
    assert set(pd.read_parquet(target)[f"kernel_config_options_{name}"]) == {"y"}


def test_duckdb_reads_the_same_from_both(csv_file: Path, parquet_file: Path) -> None:
    with duckdb.connect() as connection:
        both = [
            connection.execute(
                "SELECT count(*), sum(value), count(DISTINCT run_id), bool_and(complete) "
                f"FROM read_{kind}($path)",
                {"path": str(path)},
            ).fetchall()
            for kind, path in (("csv", csv_file), ("parquet", parquet_file))
        ]
    assert both[0] == both[1]
    assert both[0][0][2:] == (3, True)


def test_any_fact_can_be_had_with_each_row() -> None:
    text = export("csv", FILES[0], "--fact", "kernel.config.options.KASAN")
    row = next(csv.DictReader(io.StringIO(text)))
    assert row["kernel_config_options_KASAN"] == "n"
    text = export("csv", FILES[0], "--fact", "all")
    row = next(csv.DictReader(io.StringIO(text)))
    known = facts.flatten(results.load(FILES[0]).run)
    assert {name: row[facts.column(name)] for name in known} == {
        name: facts.text(value) for name, value in known.items()
    }


def test_an_unknown_fact_is_refused() -> None:
    done = call("export", "--format", "csv", FILES[0], "--fact", "kernel.colour")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "kernel.colour: no such fact" in done.stderr


def test_metrics_can_be_chosen() -> None:
    text = export("csv", *FILES, "--metric", "idle_*bytes", "--metric", "kernel_page_allocs_order4")
    chosen = {(row["metric"], row["alloc_order"]) for row in csv.DictReader(io.StringIO(text))}
    assert chosen == {
        ("idle_available_bytes", "0"),
        ("idle_available_bytes", "4"),
        ("idle_available_rss_bytes", "0"),
        ("idle_available_rss_bytes", "4"),
        ("kernel_page_allocs", "4"),
    }
    done = call("export", "--format", "csv", FILES[0], "--metric", "colour")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: colour: no such metric in any result. There are: ")
    assert "idle_available_bytes, " in done.stderr


@pytest.mark.parametrize("option", ["--metric", "--fact"])
def test_a_name_that_is_nearly_right_is_told_what_is(option: str) -> None:
    wrong, right = {
        "--metric": ("antagonised_available_bytes", "antagonized_available_bytes"),
        "--fact": ("kernel.releese", "kernel.release"),
    }[option]
    done = call("export", "--format", "csv", FILES[0], option, wrong)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Did you mean {right}?" in done.stderr


def families(*arguments: object) -> dict[str, Any]:
    text = export("openmetrics", *arguments)
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family: Any, suffix: str = "", **labels: str) -> list[float]:
    return [
        sample.value
        for sample in family.samples
        if sample.name == family.name + suffix and labels.items() <= sample.labels.items()
    ]


def test_the_reference_parser_of_openmetrics_reads_all_of_it(runs: list[tidy.Run]) -> None:
    found = families(*FILES)
    memory = found["page_alloc_bench_idle_available_bytes"]
    assert (memory.type, memory.unit) == ("gauge", "bytes")
    assert "OOM killer" in memory.documentation
    allocs = found["page_alloc_bench_kernel_page_allocs"]
    assert allocs.type == "counter"
    for run in runs:
        labels = {"run": run.id, "alloc_order": "4"}
        assert values(memory, **labels) == run.result.values("idle_available_bytes", 4).tolist()
        assert (
            values(allocs, "_total", **labels)
            == run.result.values("kernel_page_allocs", 4).tolist()
        )
        info = [
            sample
            for sample in found["page_alloc_bench_run"].samples
            if sample.labels["run"] == run.id
        ]
        assert info[0].labels["kernel_cmdline"] == run.facts["kernel.cmdline"]
        assert info[0].labels["complete"] == "true"
        started = datetime.datetime.fromtimestamp(float(info[0].timestamp), datetime.timezone.utc)
        assert started.strftime("%Y-%m-%dT%H:%M:%SZ") == run.facts["started_at"]


def test_histograms_count_every_timed_operation(runs: list[tidy.Run]) -> None:
    family = families(*FILES)["page_alloc_bench_kernel_page_alloc_latency_seconds"]
    assert (family.type, family.unit) == ("histogram", "seconds")
    for run in runs:
        for order in run.result.orders:
            labels = {"run": run.id, "alloc_order": str(order)}
            timed = run.result.values("kernel_page_allocs_timed", order)[0]
            total_ns = run.result.values("kernel_page_alloc_latency_sum_ns", order)[0]
            assert values(family, "_count", **labels) == [timed]
            assert values(family, "_sum", **labels) == [pytest.approx(total_ns / 1e9)]
            check_buckets(run, order, family, labels)


def check_buckets(run: tidy.Run, order: int, family: Any, labels: dict[str, str]) -> None:
    """Hold each "at most this" to the sample, where it says the same of fewer."""
    sample_ns = run.result.values("kernel_page_alloc_latencies_ns", order)
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in family.samples
        if sample.name.endswith("_bucket") and labels.items() <= sample.labels.items()
    ]
    counts = run.result.values("kernel_page_alloc_latency_histogram", order)
    assert [count for _, count in buckets] == [*counts.cumsum().tolist(), int(counts.sum())]
    assert buckets[-1][0] == float("inf")
    for le, count in buckets:
        part = (sample_ns <= le * 1e9 + 1e-3).mean()
        # 5 standard errors of a part of the sample
        error = 5 * (0.25 / sample_ns.size) ** 0.5
        assert count / buckets[-1][1] == pytest.approx(part, abs=error)


def test_a_run_cut_short_is_told_as_that_and_the_rest_is_there(tmp_path: Path) -> None:
    found = families(edited(tmp_path, cut_short), FILES[1])
    assert values(found["page_alloc_bench_run_complete"]) == [0, 1]
    orders = [
        sample.labels["alloc_order"]
        for sample in found["page_alloc_bench_kernel_page_allocs_per_second"].samples
    ]
    assert orders == ["0", "0", "4"]


def test_values_of_each_cpu_name_it() -> None:
    family = families(FILES[0])["page_alloc_bench_kernel_page_allocs_per_cpu"]
    assert {sample.labels["cpu"] for sample in family.samples} == {"0", "1"}


def test_nothing_timed_is_an_empty_histogram(tmp_path: Path) -> None:
    def empty(document: dict[str, Any]) -> None:
        for order in (0, 4):
            for end in ("", "_bounds_ns"):
                document[f"kernel_page_alloc_latency_histogram{end}_order{order}"] = []
            document[f"kernel_page_alloc_latency_sum_ns_order{order}"] = [0]

    family = families(edited(tmp_path, empty))["page_alloc_bench_kernel_page_alloc_latency_seconds"]
    assert values(family, "_count") == [0, 0]

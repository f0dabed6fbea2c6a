# SPDX-License-Identifier: GPL-2.0-only
"""Other tools read what is exported, and find in it what the result says."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import kcidb_io  # type: ignore[import-untyped]
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import falba_reader
from page_alloc_bench.analysis import facts, results, tidy
from page_alloc_bench.cli import main

DATA = Path(__file__).parents[1] / "data"
SIDE = DATA / "results" / "init_on_alloc-0"
FILES = sorted(SIDE.glob("*.json.gz"))[:3]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def export(form: str, *arguments: object) -> str:
    done = call("export", "--format", form, *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


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


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Return a copy of a result that has been changed."""
    document = results.load(FILES[0]).document
    edit(document)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    return path


def cut_short(document: dict[str, Any]) -> None:
    document["run"]["complete"] = False
    document["run"]["ended"] = {"complete": False, "reason": "stopped by SIGINT", "exit_code": 130}
    for key in [key for key in document if key.endswith("_order4")]:
        del document[key]


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


def kcidb(*arguments: object) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(export("kcidb", *arguments))
    kcidb_io.schema.V5_3.validate(report)
    return report


def test_kcidbs_own_schema_accepts_the_report(runs: list[tidy.Run]) -> None:
    report = kcidb(*FILES)
    assert kcidb_io.schema.V5_3.is_compatible_exactly(report)
    assert len(report["builds"]) == len(report["checkouts"]) == 1
    assert report["builds"][0]["compiler"].startswith("GCC")
    whole = [test for test in report["tests"] if test["path"] == "page_alloc_bench"]
    assert [test["id"] for test in whole] == [f"page_alloc_bench:{run.id}" for run in runs]
    assert {test["status"] for test in report["tests"]} == {"DONE"}
    assert {test["build_id"] for test in report["tests"]} == {report["builds"][0]["id"]}
    ids = [test["id"] for test in report["tests"]]
    assert len(set(ids)) == len(ids)


def test_kcidb_gets_numbers_in_base_units(runs: list[tidy.Run]) -> None:
    tests = {test["id"]: test for test in kcidb(*FILES)["tests"]}
    run = runs[0]
    place = f"page_alloc_bench:{run.id}.order_0"
    memory = pd.Series(run.result.values("idle_available_bytes", 0)).median()
    assert tests[f"{place}.idle_available_bytes.median"]["number"] == {
        "value": memory,
        "unit": "B",
        "prefix": "binary",
    }
    latency = tests[f"{place}.kernel_page_alloc_latencies_ns.median"]
    sample = pd.Series(run.result.values("kernel_page_alloc_latencies_ns", 0))
    assert latency["number"]["unit"] == "s"
    assert latency["number"]["value"] == pytest.approx(sample.median() / 1e9, rel=0.1)
    assert latency["misc"] == {"better": "lower"}


def test_kcidb_is_told_of_a_run_cut_short(tmp_path: Path) -> None:
    report = kcidb(edited(tmp_path, cut_short))
    assert report["tests"][0]["status"] == "ERROR"
    assert report["tests"][0]["comment"] == "not complete: stopped by SIGINT"


def test_kcidb_takes_a_build_that_was_submitted_before() -> None:
    report = kcidb(FILES[0], "--origin", "myci", "--build-id", "myci:build-7")
    assert "builds" not in report
    assert {test["build_id"] for test in report["tests"]} == {"myci:build-7"}
    assert {test["origin"] for test in report["tests"]} == {"myci"}


def test_kcidbs_schema_can_refuse() -> None:
    report = kcidb(FILES[0])
    report["tests"][0]["status"] = "GOOD"
    with pytest.raises(Exception, match="GOOD"):
        kcidb_io.schema.V5_3.validate(report)


def test_falba_reads_the_database(tmp_path: Path, runs: list[tidy.Run]) -> None:
    export("falba", *FILES, "-o", tmp_path / "db")
    found = falba_reader.read(tmp_path / "db")
    assert {result.test_name for result in found} == {"page-alloc-bench"}
    by_start = {result.facts["started_at"]: result for result in found}
    assert len(by_start) == len(runs)
    for run in runs:
        result = by_start[run.facts["started_at"]]
        assert json.loads(result.artifacts["result.json"]) == run.result.document
        assert result.facts["kernel_cmdline"] == run.facts["kernel.cmdline"]
        assert result.facts["complete"] is True
        assert len(result.facts) == len(run.facts)
        for metric in run.result.metrics.values():
            if "histogram" not in metric.name:
                name = f"{metric.name}_order{metric.order}"
                assert result.metrics.get(name, []) == metric.values.tolist()
    parsers = json.loads((tmp_path / "db" / "parsers.json").read_text())["parsers"]
    # Whole names: an artifact of another test, or of order 10, is none of ours.
    assert all(re.fullmatch(r"\^.*\$", one["artifact_regexp"]) for one in parsers.values())
    metric = parsers["metric_idle_available_bytes_order0"]["metric"]
    assert metric == {"name": "idle_available_bytes_order0", "type": "int", "unit": "B"}


def test_falba_reads_runs_that_lack_what_others_have(tmp_path: Path) -> None:
    export("falba", FILES[0], edited(tmp_path, cut_short), "-o", tmp_path / "db")
    found = falba_reader.read(tmp_path / "db")
    assert sorted("ended_reason" in result.facts for result in found) == [False, True]
    assert sorted("idle_available_bytes_order4" in result.metrics for result in found) == [
        False,
        True,
    ]


def test_a_database_of_falba_grows_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    database = tmp_path / "db"
    export("falba", FILES[0], "-o", database)
    config = json.loads((database / "parsers.json").read_text())
    config["parsers"]["theirs"] = {
        "type": "jsonpath",
        "artifact_regexp": "theirs",
        "jsonpath": "$.x",
        "fact": {"name": "x", "type": "int"},
    }
    (database / "parsers.json").write_text(json.dumps(config))
    export("falba", *FILES[:2], "-o", database)
    assert len(falba_reader.read(database)) == 2
    assert "theirs" in json.loads((database / "parsers.json").read_text())["parsers"]


def test_falbas_parsers_of_the_same_name_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "parsers.json").write_text('{"parsers": {"fact_complete": {"type": "shellvar"}}}')
    done = call("export", "--format", "falba", FILES[0], "-o", tmp_path)
    assert done.exit_code == 2
    assert "another parser called fact_complete" in done.stderr
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"parsers": []}', "{}"])
def test_a_directory_that_is_no_database_is_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / ("parsers.json" if content else "thesis.txt")).write_text(content)
    done = call("export", "--format", "falba", FILES[0], "-o", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unit", "blocks"),
        ("type", "number"),
        ("jsonpath", "$.nothing"),
        ("surprise", "x"),
    ],
)
def test_the_reader_of_these_tests_refuses_what_falba_does(
    name: str, value: str, tmp_path: Path
) -> None:
    export("falba", FILES[0], "-o", tmp_path / "db")
    path = tmp_path / "db" / "parsers.json"
    config = json.loads(path.read_text())
    parser = config["parsers"]["metric_idle_available_bytes_order0"]
    (parser["metric"] if name in ("unit", "type") else parser)[name] = value
    path.write_text(json.dumps(config))
    with pytest.raises(falba_reader.FalbaError):
        falba_reader.read(tmp_path / "db")


def test_a_copy_of_a_run_is_left_out_and_named(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json.gz"
    copy.write_bytes(FILES[0].read_bytes())
    done = call("export", "--format", "csv", FILES[0], copy)
    assert done.exit_code == 0
    assert f"{copy}: the same run as {FILES[0]}; left out" in done.stderr
    assert len({row["file"] for row in csv.DictReader(io.StringIO(done.stdout))}) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "cut short or empty"), (b'{"run": {"schema_', "cut short"), (b"<html>", "no JSON")],
)
@pytest.mark.parametrize("form", ["csv", "parquet", "openmetrics", "kcidb", "falba"])
def test_bad_input_is_one_line_and_writes_nothing(
    form: str, content: bytes, words: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    done = call("export", "--format", form, FILES[0], bad, "-o", out / "new")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert str(bad) in done.stderr
    assert words in done.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [FILES[0]],
        [FILES[0], "--format=falba"],
        [FILES[0], "--format=xml"],
        [FILES[0], "--format=kcidb", "--fact=all"],
        [FILES[0], "--format=openmetrics", "--metric=idle_*"],
        [FILES[0], "--format=csv", "--origin=me"],
        [FILES[0], "--format=kcidb", "--origin=Me"],
        [FILES[0], "--format=kcidb", "--build-id=7"],
        [FILES[0], "--format=csv", "-o", "/proc/absent/rows.csv"],
        [FILES[0], "--format=csv", "-o", DATA],
        [DATA / "kmsg", "--format=csv"],
        ["no-such-file.json", "--format=csv"],
        [f"{DATA}/res*", "--format=csv"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[object]) -> None:
    assert call("export", *arguments).exit_code == 2


def test_parquet_goes_to_a_pipe_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", "export", "--format=parquet", FILES[0]],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert len(pd.read_parquet(io.BytesIO(done.stdout))) > 1000


@pytest.mark.parametrize(
    ("library", "arguments", "extra"),
    [
        ("duckdb", ["export", "--format=parquet"], "analysis,query"),
        ("duckdb", ["query", "SELECT 1"], "analysis,query"),
        ("numpy", ["export", "--format=csv"], "analysis"),
        ("prometheus_client", ["export", "--format=openmetrics"], "analysis"),
        ("rich", ["query", "SELECT 1"], "analysis"),
    ],
)
def test_a_missing_extra_is_named(library: str, arguments: list[str], extra: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None; from page_alloc_bench import cli; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, FILES[0]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )
    assert done.returncode == 1
    # Where this stands, and with the Python that it runs with.
    command = f"{sys.executable} -m pip install -e '{DATA.parents[1]}[{extra}]'"
    assert done.stderr.splitlines()[1:] == [f"  {command}"]


def test_the_schema_of_old_versions_is_exported_too() -> None:
    for path in sorted((DATA / "schema-versions").iterdir()):
        for form in ("csv", "openmetrics", "kcidb"):
            assert len(export(form, path)) > 1000

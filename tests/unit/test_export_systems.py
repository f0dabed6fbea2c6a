# SPDX-License-Identifier: GPL-2.0-only
"""KCIDB and FALBA take what is exported; bad input is one line and writes nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kcidb_io  # type: ignore[import-untyped]
import pandas as pd
import pytest

import falba_reader
import recorded
from exported import DATA, FILES, call, cut_short, edited, export
from page_alloc_bench.analysis import results, tidy


@pytest.fixture(scope="module")
def runs() -> list[tidy.Run]:
    return tidy.runs(map(results.load, FILES), pytest.fail)


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
    documents = [json.loads(result.artifacts["result.json"]) for result in found]
    by_start = {each["run"]["started_at"]: result for each, result in zip(documents, found)}
    assert len(by_start) == len(runs)
    for run in runs:
        result = by_start[str(run.facts["started_at"])]
        assert json.loads(result.artifacts["result.json"]) == run.result.document
        assert result.facts["kernel_cmdline"] == run.facts["kernel.cmdline"]
        assert result.facts["complete"] is True
        assert result.metrics["machine_uptime_s"] == [run.facts["machine.uptime_s"]]
        for metric in run.result.metrics.values():
            if "histogram" not in metric.name:
                name = f"{metric.name}_order{metric.order}"
                assert result.metrics.get(name, []) == metric.values.tolist()
    parsers = json.loads((tmp_path / "db" / "parsers.json").read_text())["parsers"]
    # Whole names: an artifact of another test, or of order 10, is not ours.
    assert all(re.fullmatch(r"\^.*\$", one["artifact_regexp"]) for one in parsers.values())
    metric = parsers["metric_idle_available_bytes_order0"]["metric"]
    assert metric == {"name": "idle_available_bytes_order0", "type": "int", "unit": "B"}


def test_falba_compares_two_kernels_without_ignoring_a_fact(tmp_path: Path) -> None:
    """Its cmp refuses groups in which any other fact varies."""
    export("falba", recorded.BASE, recorded.NEW, "-o", tmp_path / "db")
    found = falba_reader.read(tmp_path / "db")
    groups = falba_reader.compared(found, "kernel_cmdline", "idle_available_bytes_order0")
    words = sorted(groups, key=lambda cmdline: "init_on_alloc=1" in cmdline)
    assert [groups[each].samples for each in words] == [
        sum(len(d["idle_available_bytes_order0"]) for d in recorded.documents(side))
        for side in (recorded.NEW, recorded.BASE)
    ]
    with pytest.raises(falba_reader.FalbaError, match="not a determinant"):
        falba_reader.compared(found, "machine_cpus_used", "idle_available_bytes_order0")


def test_falba_reads_runs_that_lack_what_others_have(tmp_path: Path) -> None:
    export("falba", FILES[0], edited(tmp_path, cut_short), "-o", tmp_path / "db")
    found = falba_reader.read(tmp_path / "db")
    ends = [json.loads(result.artifacts["result.json"])["run"]["complete"] for result in found]
    assert sorted(ends) == [False, True]
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
    [(b"", "cut short or empty"), (b'{"run": {"schema_', "cut short"), (b"<html>", "not JSON")],
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

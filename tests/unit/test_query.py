# SPDX-License-Identifier: GPL-2.0-only
"""SQL sees what the results say, and changes nothing of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import on_terminal
from page_alloc_bench.analysis import results, tidy
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import figures
from page_alloc_bench.runner.result.metrics import Kind

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SIDE = DATA / "results" / "init_on_alloc-1"
FILES = sorted(SIDE.glob("*.json.gz"))[:4]


def call(sql: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["query", sql, *map(str, arguments or FILES)])


def ask(sql: str, *arguments: object) -> list[dict[str, Any]]:
    done = call(sql, "--format=json", *(arguments or FILES))
    assert done.exit_code == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.fixture(scope="module")
def runs() -> list[tidy.Run]:
    return tidy.runs(map(results.load, FILES), pytest.fail)


def test_runs_has_a_row_for_each(runs: list[tidy.Run]) -> None:
    rows = ask("SELECT * FROM runs ORDER BY started_at")
    assert [row["run_id"] for row in rows] == [run.id for run in runs]
    for row, run in zip(rows, runs, strict=True):
        told = run.result.run
        assert row["file"] == run.file
        assert row["release"] == told["kernel"]["release"]
        assert row["cmdline"] == told["kernel"]["cmdline"]
        assert row["started_at"] + "Z" == told["started_at"]
        assert row["complete"] is True
        assert row["reason"] is None
        assert row["seed"] == told["seed"]
        assert row["memory_bytes"] == told["machine"]["memory_bytes"]
        assert row["nodes"] == 2
        assert row["iterations"] == 3
        assert row["warnings"] == len(told["warnings"])


def test_metrics_has_the_figures_of_each(runs: list[tidy.Run]) -> None:
    rows = {(row["run_id"], row["metric"], row["alloc_order"]): row for row in ask("FROM metrics")}
    assert len(rows) == sum(len(run.result.metrics) for run in runs)
    for run in runs:
        for (name, case), metric in run.result.metrics.items():
            row = rows[run.id, name, case.order]
            assert row["n"] == metric.values.size
            assert (row["unit"], row["better"]) == (metric.unit, metric.better or "neither")
            if metric.metric.kind is Kind.SAMPLE:  # the figures are of all that was timed
                known = figures.of(run.result.counts, run.result.run, name, case)
                assert row["population"] == known.size >= row["n"]
                p999 = known.get("p99.9")
                assert row["p99_9"] == (p999 and p999.value)
            elif metric.values.size:
                assert row["median"] == np.median(metric.values)
                assert (row["min"], row["max"]) == (metric.values.min(), metric.values.max())
            else:
                assert row["median"] is None


def test_the_largest_number_that_a_result_may_have_is_told(tmp_path: Path) -> None:
    document = results.load(FILES[0]).document
    document["kernel_alloc_failures_order0"] = [2**63 - 1]
    document["run"]["seed"] = -1
    document["run"]["parameters"]["iterations"] = 2**63 - 1
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    where = "WHERE metric = 'kernel_alloc_failures' AND alloc_order = 0"
    [of_all] = ask(f"SELECT min, max FROM metrics {where}", path)
    assert of_all["min"] == of_all["max"] == 2**63 - 1
    told = ask("SELECT iterations, seed FROM runs", path)
    assert told == [{"iterations": 2**63 - 1, "seed": -1}]
    [one] = ask(f"SELECT value FROM samples {where}", path)
    assert one["value"] == 2**63 - 1


def test_samples_has_every_value_in_its_place(runs: list[tidy.Run]) -> None:
    rows = ask(
        "SELECT run_id, list(value ORDER BY sample)::JSON AS them FROM samples "
        "WHERE metric = 'kernel_page_alloc_latencies_ns' AND alloc_order = 4 GROUP BY run_id"
    )
    found = {row["run_id"]: json.loads(row["them"]) for row in rows}
    for run in runs:
        mine = run.result.values("kernel_page_alloc_latencies_ns", 4).tolist()
        assert found[run.id] == mine
    total = sum(m.values.size for run in runs for m in run.result.metrics.values())
    assert ask("SELECT count(*) AS n FROM samples") == [{"n": total}]


def test_facts_has_what_is_known(runs: list[tidy.Run]) -> None:
    rows = ask("SELECT value FROM facts WHERE name = 'kernel.config.options.KASAN'")
    assert rows == [{"value": "n"}] * len(runs)
    rows = ask("SELECT DISTINCT value FROM facts WHERE name = 'complete'")
    assert rows == [{"value": "true"}]


def test_an_incomplete_run_says_why(tmp_path: Path) -> None:
    document = results.load(FILES[0]).document
    document["run"]["complete"] = False
    document["run"]["ended"] = {"complete": False, "reason": "stopped by SIGINT", "exit_code": 130}
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(document))
    assert ask("SELECT complete, reason FROM runs", path) == [
        {"complete": False, "reason": "stopped by SIGINT"}
    ]


def test_values_survive_csv_and_json() -> None:
    sql = "SELECT 1.5 AS a, NULL AS b, 'x,\"y' AS c, true AS d, DATE '2026-01-02' AS e, 10::HUGEINT"
    row = next(
        csv.reader(io.StringIO(call(sql, "--format=csv", FILES[0]).stdout.split("\n", 1)[1]))
    )
    assert row == ["1.5", "", 'x,"y', "true", "2026-01-02", "10"]
    assert list(ask(sql, FILES[0])[0].values()) == [1.5, None, 'x,"y', True, "2026-01-02", 10]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("TIMESTAMPTZ '2026-01-02 03:04:05+00'", "2026-01-02 03:04:05+00"),
        ("[TIMESTAMPTZ '2026-01-02 03:04:05+00']", ["2026-01-02 03:04:05+00"]),
        ("MAP {DATE '2026-01-02': 1}", {"2026-01-02": 1}),
        ("MAP {[1, 2]: INTERVAL 1 MONTH}", {"[1, 2]": "1 month"}),
        ("""{'a "b"': INTERVAL 1 MONTH, 'c': 2}""", {'a "b"': "1 month", "c": 2}),
        ("INTERVAL 999999999 MONTH", "83333333 years 3 months"),
        ("TIMESTAMP 'infinity'", "infinity"),
        ("DATE '-infinity'", "-infinity"),
        ("TIMESTAMP_NS '2026-01-02 03:04:05.123456789'", "2026-01-02 03:04:05.123456789"),
        ("'nan'::DOUBLE", None),
        ("[1.5, 1e308 * 10]", [1.5, None]),
        ("BLOB 'a'", "a"),
        ("TIME '10:00'", "10:00:00"),
        ("[true, NULL]", [True, None]),
    ],
)
def test_every_kind_of_value_is_told(sql: str, told: object) -> None:
    sql = f"SET TimeZone = 'UTC'; SELECT {sql} AS a"
    assert ask(sql, FILES[0]) == [{"a": told}]
    for form in ("csv", "table"):
        done = call(sql, f"--format={form}", FILES[0])
        assert (done.exit_code, done.stderr) == (0, "")


def test_now_has_a_time_zone() -> None:
    assert ask("SELECT started_at < now() AS then FROM runs", FILES[0]) == [{"then": True}]
    assert re.fullmatch(r"now\(\)\n─+\n20\d\d-.*", call("SELECT now()", FILES[0]).stdout.strip())


def test_columns_of_one_name_are_all_in_the_json() -> None:
    assert ask("SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a", FILES[0]) == [
        {"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}
    ]


def test_a_variable_of_the_program_is_no_table() -> None:
    done = call("SELECT * FROM sql", FILES[0])
    assert done.exit_code == 2
    assert "Table with name sql does not exist" in done.stderr


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_no_number_is_folded_in_a_terminal(columns: int) -> None:
    sql = "SELECT run_id, memory_bytes, 12345678901234, 'a long text of many words' FROM runs"
    output = on_terminal.shown(["query", sql, str(FILES[0])], columns)
    memory = ask("SELECT memory_bytes AS n FROM runs", FILES[0])[0]["n"]
    assert re.search(rf"\b{memory}\b", output)
    assert re.search(r"\b12345678901234\b", output)


def test_a_table_is_never_cut_where_there_is_no_terminal() -> None:
    lines = call("SELECT * FROM runs").stdout.splitlines()
    assert len(lines) == 2 + len(FILES)
    assert "…" not in "".join(lines)
    assert all(line == line.rstrip() for line in lines)
    assert lines[0].split()[:3] == ["run_id", "file", "started_at"]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM loaded.samples",
        "DROP VIEW runs; DROP TABLE loaded.runs",
        "UPDATE loaded.runs SET release = 'mine'",
        "CREATE TABLE mine AS FROM metrics; INSERT INTO mine FROM metrics",
        "DELETE FROM runs",
    ],
)
def test_no_statement_changes_a_file(sql: str) -> None:
    def digest() -> list[str]:
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in FILES]

    before = digest(), sorted(SIDE.iterdir())
    assert call(sql).exit_code in (0, 2)
    assert (digest(), sorted(SIDE.iterdir())) == before
    assert ask("SELECT count(*) AS n FROM runs") == [{"n": len(FILES)}]


def test_what_duckdb_can_do_is_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    done = call(f"COPY (FROM metrics) TO '{path}' (FORMAT parquet)")
    assert done.exit_code == 0
    assert ask(f"SELECT count(*) > 100 AS ok FROM '{path}'") == [{"ok": True}]


@pytest.mark.parametrize("sql", ["SELECT", "SELECT * FROM nothing", "SELECT colour FROM runs"])
def test_wrong_sql_is_explained(sql: str) -> None:
    done = call(sql)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stdout == ""


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"run": {')
    done = call("SELECT 1", bad)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {bad}: is cut short")
    assert done.stderr.count("\n") == 1


def test_results_of_every_schema_version_are_read() -> None:
    paths = sorted((DATA / "schema-versions").iterdir())
    assert ask("SELECT count(*) AS n FROM runs", *paths) == [{"n": len(paths)}]


def examples() -> list[tuple[str, str]]:
    """Return each query in the manual with what it prints there."""
    text = (ROOT / "bundle/page_alloc_bench/manual/query.md").read_text()
    blocks = re.findall(r"^```\n\$ (page-alloc-bench query .*?)^```$", text, re.M | re.S)
    return [split_example(block) for block in blocks]


def split_example(block: str) -> tuple[str, str]:
    """Split a command, which may go on while a quote is open, from its output."""
    lines = block.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        command = "".join(lines[:count])
        if command.count('"') % 2 == 0 and not command.endswith("\\\n"):
            return command, "".join(lines[count:])
    raise AssertionError(f"no end of the command in {block}")


def test_there_are_three_examples() -> None:
    assert len(examples()) >= 3


@pytest.mark.parametrize(("command", "printed"), examples())
def test_the_manual_shows_what_is_printed(command: str, printed: str) -> None:
    name, *words = shlex.split(command)
    assert name == "page-alloc-bench"
    files = [str(path) for word in words[2:] for path in sorted(ROOT.glob(word))]
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", *words[:2], *files],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.stdout == printed


def test_a_query_too_large_for_memory_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sql = "SET memory_limit = '40MB'; SELECT list(range) FROM range(100000000)"
    done = call(sql, DATA / "results/init_on_alloc-1/00.json.gz")
    assert done.exit_code == 2
    assert "memory" in done.stderr.lower()
    assert list(tmp_path.iterdir()) == []

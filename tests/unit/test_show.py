# SPDX-License-Identifier: GPL-2.0-only
"""What show prints is what the result says, doubts first, and fits."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from page_alloc_bench.analysis import facts, results, show
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import summary

DATA = Path(__file__).parents[1] / "data"
FILE = DATA / "results" / "init_on_alloc-1" / "03.json.gz"


def call(*arguments: object, columns: int = 100) -> Result:
    runner = CliRunner(env={"COLUMNS": str(columns), "TERM": "dumb"})
    return runner.invoke(main, ["show", *map(str, arguments)])


def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", "show", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    document = results.load(FILE).document
    edit(document)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    return path


def doubtful(document: dict[str, Any]) -> None:
    document["run"]["warnings"] = ["the host was swapping"] * 2
    document["run"]["complete"] = False
    document["run"]["ended"] = {"complete": False, "reason": "stopped by SIGINT", "exit_code": 130}


def test_the_tables_are_those_of_the_run() -> None:
    shown = call(FILE).stdout
    result = results.load(FILE)
    document = show.as_document(result)
    for order in (0, 4):
        assert "\n".join(summary.of_case(document, order)) in shown


def test_histograms_show_every_timed_operation_in_its_octave() -> None:
    result = results.load(FILE)
    lines = call(FILE).stdout.splitlines()
    starts = [n for n, line in enumerate(lines) if line.split()[:1] == ["from"]]
    assert len(starts) == 2
    for order, start in zip((0, 4), starts, strict=True):
        rows = {}
        for line in lines[start + 1 :]:
            if not line.strip():
                break
            number, unit = line[:10].split()
            size = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
            rows[float(number) * size] = line
        counted = 0
        for base in ("kernel_page_alloc_latency", "kernel_page_free_latency"):
            bounds = result.values(f"{base}_histogram_bounds_ns", order)
            counts = result.values(f"{base}_histogram", order)
            for floor, line in rows.items():
                low = 2 ** round(math.log2(floor))
                count = int(counts[(bounds[:-1] >= low) & (bounds[:-1] < 2 * low)].sum())
                assert not count or f" {count:,}" in line
                counted += count
        timed = sum(
            int(result.values(name, order)[0])
            for name in ("kernel_page_allocs_timed", "kernel_page_frees_timed")
        )
        assert counted == timed


def test_the_longest_bar_is_of_the_largest_count_and_one_operation_has_one() -> None:
    lines = [line for line in call(FILE).stdout.splitlines() if "█" in line]
    bars = [
        (int(words[place + 1].replace(",", "")), len(words[place]))
        for line in lines[:17]
        for words in [line.split()]
        for place in range(2, len(words) - 1)
        if words[place].startswith("█")
    ]
    assert max(bars)[1] == max(length for _, length in bars)
    assert sorted(length for _, length in bars) == [length for _, length in sorted(bars)]
    assert min(bars)[0] == 1
    assert 1 <= min(bars)[1] < max(bars)[1] / 4


def test_doubts_come_first(tmp_path: Path) -> None:
    lines = call(edited(tmp_path, doubtful)).stdout.splitlines()
    assert lines[:2] == [
        "NOT COMPLETE: stopped by SIGINT",
        "warning: the host was swapping (2 times)",
    ]


def test_an_incomplete_run_is_loud_in_a_terminal(tmp_path: Path) -> None:
    done = run(edited(tmp_path, doubtful), FORCE_COLOR="1", TERM="xterm-256color")
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("\x1b[1;37;41mNOT COMPLETE")
    assert second.startswith("\x1b[33mwarning")


def test_elsewhere_it_is_plain() -> None:
    assert "\x1b" not in run(FILE).stdout


@pytest.mark.parametrize(
    ("columns", "most"), [(40, 40), (60, 60), (72, 72), (80, 80), (100, 100), (300, 100)]
)
def test_it_fits(columns: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILE.parent)
    lines = call(FILE.name, columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= most
    bars = [line for line in lines if "█" in line]
    assert max(map(len, bars)) <= max(min(columns, most), show.LEAST_WIDTH)
    assert len(bars) > 20


def test_a_terminal_that_has_but_ascii_gets_that() -> None:
    done = run(FILE, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "####" in done.stdout
    assert done.stdout.isascii()


def test_a_run_without_latencies_says_so(tmp_path: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        for key in [key for key in document if "latenc" in key]:
            del document[key]

    assert call(edited(tmp_path, forget)).stdout.count("no latency was measured") == 2


def test_a_run_that_measured_nothing_is_shown(tmp_path: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        doubtful(document)
        for key in [key for key in document if key != "run"]:
            del document[key]

    done = call(edited(tmp_path, forget))
    assert done.exit_code == 0
    assert done.stdout.startswith("NOT COMPLETE")


def test_facts_are_one_a_line() -> None:
    result = results.load(FILE)
    lines = call(FILE, "--facts").stdout.splitlines()
    told = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    assert told["kernel.release"] == result.run["kernel"]["release"]
    assert told["kernel.config.options.KASAN"] == "n"
    assert told["complete"] == "true"
    assert told["machine.nodes.1.cpus"] == "1"
    assert told["warnings"] == "0"


def test_facts_as_json_have_their_types() -> None:
    told = json.loads(call(FILE, "--facts", "--json").stdout)
    assert told == facts.flatten(results.load(FILE).run)
    assert told["complete"] is True
    assert isinstance(told["machine.memory_bytes"], int)


def test_one_metric_of_one_order_is_an_object() -> None:
    told = json.loads(call(FILE, "--metric", "idle_available_bytes_order0", "--json").stdout)
    values = results.load(FILE).values("idle_available_bytes", 0).tolist()
    assert told["values"] == values
    assert told["median"] == sorted(values)[1]
    assert (told["metric"], told["order"], told["unit"], told["better"], told["n"]) == (
        "idle_available_bytes",
        0,
        "bytes",
        "higher",
        3,
    )


def test_one_metric_of_all_orders_is_a_list() -> None:
    told = json.loads(call(FILE, "--metric", "kernel_page_alloc_latencies_ns", "--json").stdout)
    assert [one["order"] for one in told] == [0, 4]
    assert all(len(one["values"]) == 1000 for one in told)
    assert all(one["min"] <= one["median"] <= one["p99"] <= one["max"] for one in told)


def test_a_metric_as_text() -> None:
    lines = call(FILE, "--metric", "idle_available_bytes_order0").stdout.splitlines()
    values = results.load(FILE).values("idle_available_bytes", 0).tolist()
    assert lines[0] == "idle_available_bytes_order0: 3 values, bytes, higher is better"
    assert lines[1].startswith(f"  min {min(values)}, mean ")
    assert lines[2] == "  " + " ".join(map(str, values))
    text = call(FILE, "--metric", "kernel_page_alloc_latencies_ns").stdout
    assert text.count("(--json has all 1,000 values)") == 2
    text = call(FILE, "--metric", "kernel_page_allocs_order4").stdout
    assert text == "kernel_page_allocs_order4: 1 value, blocks\n  69155\n"


def test_a_metric_that_was_measured_and_is_empty() -> None:
    told = call(FILE, "--metric", "kernel_alloc_failure_latencies_ns_order0", "--json")
    assert json.loads(told.stdout)["values"] == []


def test_a_metric_that_is_not_there_is_one_line_with_the_right_names() -> None:
    done = call(FILE, "--metric", "idle_availible_bytes")
    assert done.exit_code == 2
    said = (
        f"error: {FILE}: has no metric idle_availible_bytes. Did you mean idle_available_bytes? "
        "There are: "
    )
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert "kernel_page_allocs, " in done.stderr.removeprefix(said)


def test_stdin_is_read_as_ssh_hands_it_over() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", "show", "-"],
        input=FILE.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert b"order 4 (64 KiB per block)" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [FILE, "--json"],
        [FILE, "--facts", "--metric", "x"],
        ["no-such-file.json"],
        [DATA],
        [DATA / "results" / "README.md"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[object]) -> None:
    assert call(*arguments).exit_code == 2


def test_a_foreign_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "fio.json"
    path.write_text('{"fio version": "fio-3.33"}')
    done = call(path)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr


def test_results_of_every_schema_version_are_shown() -> None:
    for path in sorted((DATA / "schema-versions").iterdir()):
        assert "order 0" in call(path).stdout


def test_the_manual_shows_what_is_printed() -> None:
    root = DATA.parents[1]
    text = (root / "bundle/page_alloc_bench/manual/show.md").read_text()
    command = "$ page-alloc-bench show tests/data/results/init_on_alloc-1/03.json.gz\n"
    printed = text.split(command)[1].split("\n...\n")[0]
    done = subprocess.run(
        [sys.executable, "-m", "page_alloc_bench.cli", *command.split()[2:]],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.stdout.startswith(printed)
    assert "order 0" in printed

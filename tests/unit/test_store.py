# SPDX-License-Identifier: GPL-2.0-only
"""A store keeps runs whole, whoever adds to it and whenever that ends, and says what files say."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

import recorded
from page_alloc_bench.analysis import results, tidy
from page_alloc_bench.analysis.store import index, keep, place, read
from page_alloc_bench.cli import main

BASE = sorted(recorded.BASE.iterdir())[:6]
NEW = sorted(recorded.NEW.iterdir())[:6]
COMMAND = [sys.executable, "-m", "page_alloc_bench.cli"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def done(*arguments: object) -> Result:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def ask(sql: str, *arguments: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(done("query", sql, "--format=json", *arguments).stdout)
    return rows


def files_of(store: Path) -> list[Path]:
    return sorted((store / "runs").rglob("*.parquet"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("it") / "store"
    done("store", "add", path, *BASE, *NEW)
    return path


def test_a_run_is_a_file_by_release_and_host_and_is_there_once(store: Path) -> None:
    runs = tidy.runs(map(results.load, BASE + NEW), pytest.fail)
    release = runs[0].result.run["kernel"]["release"]
    directory = store / "runs" / f"release={release}" / "host=unknown"
    assert files_of(store) == sorted(directory / f"{run.id}.parquet" for run in runs)
    assert "0 added, 1 known already" in done("store", "add", store, BASE[0]).stderr
    assert len(files_of(store)) == 12
    assert f"{release}  unknown    12" in done("store", "list", store).stdout


def test_a_store_is_not_made_for_nothing(tmp_path: Path) -> None:
    assert call("store", "add", tmp_path / "new", "").exit_code
    assert not (tmp_path / "new").exists()


def test_a_run_takes_less_than_15_kb(store: Path) -> None:
    assert max(path.stat().st_size for path in files_of(store)) <= 15_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT run_id, metric, alloc_order, n, population, min, median, p99_9, max, unit, better "
        "FROM metrics ORDER BY ALL",
        "SELECT * EXCLUDE (host) FROM runs ORDER BY run_id",
        "SELECT * FROM facts ORDER BY ALL",
        "SELECT * FROM samples WHERE NOT contains(metric, 'latencies') ORDER BY ALL",
    ],
)
def test_queries_say_of_a_store_what_they_say_of_files(store: Path, sql: str) -> None:
    assert (rows := ask(sql, "--store", store))
    assert rows == ask(sql.replace(" EXCLUDE (host)", ""), *BASE, *NEW)


def test_a_comparison_of_a_store_is_that_of_its_files_to_the_last_digit(store: Path) -> None:
    told = []
    for sides in (
        (*BASE, "--vs", *NEW),
        ("--store", store, "kernel.cmdline=*init_on_alloc=1*", "--vs",
         "release=6.1.* AND host=unknown AND kernel.cmdline=*init_on_alloc=0*"),
    ):  # fmt: skip
        made = json.loads(call("compare", "--format=json", *sides).stdout)
        told.append({name: made[name] for name in made if name not in ("base", "new")})
    assert told[0] == told[1]
    assert len(told[0]["rows"]) > 10


def test_samples_are_kept_on_request(store: Path, tmp_path: Path) -> None:
    sql = "SELECT count(*) AS n FROM samples WHERE metric = 'kernel_page_alloc_latencies_ns'"
    assert ask(sql, "--store", store) == [{"n": 0}]
    other = tmp_path / "store"
    done("store", "add", other, BASE[0])
    small = files_of(other)[0].stat().st_size
    assert "1 added" in done("store", "add", "--samples", other, BASE[0]).stderr
    assert ask(sql, "--store", other) == ask(sql, BASE[0])
    assert files_of(other)[0].stat().st_size > small
    assert "1 known" in done("store", "add", "--samples", other, BASE[0]).stderr


def labelled(path: Path, number: int, host: str, **labels: str) -> Path:
    """Write a run of a host into path, unlike all others."""
    document = recorded.documents(recorded.BASE)[0]
    document["run"].update(host_id=host, labels=labels, boot_id=str(number))
    document["idle_available_bytes_order0"][0] += number
    file = path / f"{number}.json"
    file.write_text(json.dumps(document))
    return file


def test_hosts_and_labels_choose_runs(tmp_path: Path) -> None:
    made = [labelled(tmp_path, n, f"{n % 2:032x}", rack="a" if n < 3 else "b") for n in range(4)]
    done("store", "add", tmp_path / "store", *made)
    opened = place.open_store(tmp_path / "store")

    def boots(*conditions: str) -> set[str]:
        found = read.load(opened, read.parse(conditions), pytest.fail)
        return {result.run["boot_id"] for result in found}

    assert boots(f"host={1:032x}") == {"1", "3"}
    assert boots("labels.rack=a AND host=*0") == {"0", "2"}
    assert boots("labels.rack=b", "complete=*") == {"3"}
    rows = ask("SELECT host, count(*) AS n FROM metrics WHERE metric = 'idle_available_bytes' "
               "AND alloc_order = 0 GROUP BY host ORDER BY host",
               "--store", tmp_path / "store")  # fmt: skip
    assert rows == [{"host": f"{n:032x}", "n": 2} for n in range(2)]
    nothing = call("compare", "--store", tmp_path / "store", "host=nobody", "--vs", "host=*")
    assert (nothing.exit_code, "no run has" in nothing.stderr) == (3, True)
    wrong = call("compare", "--store", tmp_path / "store", "label.rack=a", "--vs", "host=*")
    assert (wrong.exit_code, "labels.rack" in wrong.stderr) == (3, True), wrong.stderr


# What is wrong with a store


@pytest.mark.parametrize("left", [0, 5, 200, -1])
def test_a_torn_file_is_named_and_left_out(tmp_path: Path, left: int) -> None:
    done("store", "add", tmp_path, *BASE[:3])
    torn = files_of(tmp_path)[1]
    torn.write_bytes(torn.read_bytes()[:left])
    asked = done("query", "SELECT count(*) FROM runs", "--store", tmp_path, "--format=csv")
    assert asked.stdout.split() == ["count_star()", "2"]
    assert str(torn) in asked.stderr
    checked = call("store", "check", tmp_path)
    assert (checked.exit_code, checked.stdout.count("\n")) == (1, 1)
    assert checked.stdout == f"{torn}: is cut short, or no Parquet file\n"


def test_check_reads_what_is_between_the_ends(tmp_path: Path) -> None:
    done("store", "add", tmp_path, *BASE[:2])
    assert "2 runs, all whole" in done("store", "check", tmp_path).stderr
    damaged = files_of(tmp_path)[0]
    data = bytearray(damaged.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    damaged.write_bytes(data)
    checked = call("store", "check", tmp_path)
    assert (checked.exit_code, checked.stdout.startswith(f"{damaged}: ")) == (1, True)
    assert (checked.stdout.count("\n"), "SELECT" in checked.stdout) == (1, False)


def damaged_inside(file: Path) -> None:
    """Leave the ends of a file as they were, and nothing of what is between."""
    data = bytearray(file.read_bytes())
    data[4:-4] = bytes(len(data) - 8)
    file.write_bytes(data)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["query", "SELECT sum(median) FROM metrics"], 2),
        (["query", "SELECT count(release) FROM runs"], 2),
        (["compare", "complete=*", "--vs", "complete=*"], 3),
        (["trend"], 3),
    ],
)
def test_every_reader_names_a_file_that_is_damaged_inside(
    command: list[str], code: int, at: int, tmp_path: Path
) -> None:
    done("store", "add", tmp_path, *BASE[:2])
    damaged = files_of(tmp_path)[at]
    damaged_inside(damaged)
    asked = call(*command, "--store", tmp_path)
    assert (asked.exit_code, asked.stdout) == (code, ""), asked.output
    assert damaged.name in asked.stderr
    assert "internal error" not in asked.stderr


@pytest.mark.parametrize("samples", [[], ["--samples"]])
@pytest.mark.parametrize("left", [0, 5, 200, -1, None])
def test_adding_a_run_mends_its_damaged_file(
    left: int | None, samples: list[str], tmp_path: Path
) -> None:
    done("store", "add", tmp_path, *samples, BASE[0])
    [file] = files_of(tmp_path)
    whole = file.read_bytes()
    if left is None:
        damaged_inside(file)
    else:
        file.write_bytes(whole[:left])
    assert "1 added" in done("store", "add", *samples, tmp_path, BASE[0]).stderr
    assert file.read_bytes() == whole


def test_a_file_in_the_wrong_place_is_named(tmp_path: Path) -> None:
    done("store", "add", tmp_path, BASE[0])
    file = files_of(tmp_path)[0]
    other = file.parent.parent / "host=other"
    file.parent.rename(other)
    checked = call("store", "check", tmp_path)
    assert (checked.exit_code, "does not belong there" in checked.stdout) == (1, True)


def test_what_is_no_store_or_a_newer_one_is_refused(tmp_path: Path) -> None:
    for arguments in (("store", "list", tmp_path), ("query", "FROM runs", "--store", tmp_path)):
        refused = call(*arguments)
        assert (refused.exit_code, "is not a store" in refused.stderr) == (2, True)
    (tmp_path / "notes.txt").write_text("mine")
    refused = call("store", "add", tmp_path, BASE[0])
    assert (refused.exit_code, "is not empty" in refused.stderr) == (2, True)
    assert os.listdir(tmp_path) == ["notes.txt"]
    (tmp_path / "store.json").write_text('{"format": 2}')
    refused = call("store", "list", tmp_path)
    assert (refused.exit_code, "use a newer one" in refused.stderr) == (2, True)


@pytest.mark.parametrize("command", ["compare", "trend", "check"])
def test_a_metric_of_a_newer_version_is_named(command: str, tmp_path: Path) -> None:
    done("store", "add", tmp_path, *BASE[:2])
    file = files_of(tmp_path)[1]
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT * REPLACE (replace(metric, 'idle_available_bytes', 'new_thing') AS "
            f"metric) FROM read_parquet('{file}')) TO '{tmp_path}/other' (FORMAT parquet)"
        )
    (tmp_path / "other").rename(file)
    arguments = {
        "compare": ["compare", "--store", tmp_path, "complete=*", "--vs", "complete=*"],
        "trend": ["trend", "--store", tmp_path],
        "check": ["store", "check", tmp_path],
    }[command]
    asked = call(*arguments)
    assert asked.exit_code == {"check": 1}.get(command, 3)
    told = asked.stdout + asked.stderr
    assert file.name in told
    assert "new_thing" in told
    assert "a newer version made this" in told
    assert "internal error" not in told


def test_directories_may_be_written_in_another_way(tmp_path: Path) -> None:
    done("store", "add", tmp_path, BASE[0])
    host = files_of(tmp_path)[0].parent
    host.rename(host.parent / "host=un%6bnown")  # as other writers of such directories may
    assert ask("SELECT host FROM runs", "--store", tmp_path) == [{"host": "unknown"}]
    assert "1 runs, all whole" in done("store", "check", tmp_path).stderr


def test_an_empty_store_answers(tmp_path: Path) -> None:
    place.make_store(tmp_path / "store")
    rows = ask("SELECT (SELECT count(*) FROM runs) AS r, (SELECT count(*) FROM metrics) AS m",
               "--store", tmp_path / "store")  # fmt: skip
    assert rows == [{"r": 0, "m": 0}]


# Writers


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    target = tmp_path / "store"
    sides = [(*BASE, *NEW[:2]), (*NEW, *BASE[:2])]
    writers = [
        subprocess.Popen([*COMMAND, "store", "add", target, *side], stderr=subprocess.PIPE)
        for side in sides
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    assert len(files_of(target)) == 12
    assert "all whole" in done("store", "check", target).stderr


# Adds the same runs again and again, each time in a child that is killed. The parent has opened no
# database: its threads would not be there in the child.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from page_alloc_bench.analysis import results, tidy
from page_alloc_bench.analysis.store import keep, place
runs = tidy.runs(map(results.load, map(Path, sys.argv[2:])), print)
choose, seconds = random.Random(1), 0.0
for attempt in range(12):
    target = place.make_store(Path(sys.argv[1]) / str(attempt % 3))
    child = os.fork()
    if child == 0:
        list(keep.add(target, runs))
        os._exit(0)
    if attempt:
        time.sleep(choose.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
    began = time.monotonic()
    os.waitpid(child, 0)
    seconds = seconds or time.monotonic() - began
    whole, torn = target.whole()
    others = [p for p in target.root.rglob("*") if p.is_file() and p.suffix != ".parquet"]
    assert others == [target.root / "store.json"], others
    assert not torn, torn
    print(len(whole))
"""


def test_a_writer_that_is_killed_leaves_whole_files_only(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, *BASE],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    ends = child.stdout.split()
    assert len(ends) == 12
    assert len(set(ends)) > 1  # it was killed at different moments
    for number in range(3):
        target = tmp_path / str(number)
        done("store", "add", target, *BASE)
        assert "6 runs, all whole" in done("store", "check", target).stderr


def test_a_full_disk_leaves_no_part_of_a_run(tmp_path: Path) -> None:
    target = tmp_path / "store"

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    child = subprocess.run(
        [*COMMAND, "store", "add", target, BASE[0]],
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, "Traceback" in child.stderr) == (3, False), child.stderr
    assert files_of(target) == []


# The index


def test_the_index_changes_no_answer(tmp_path: Path) -> None:
    target = place.make_store(tmp_path / "store")
    runs = tidy.runs(map(results.load, BASE), pytest.fail)
    list(keep.add(target, runs[:4]))
    sql = "SELECT * FROM metrics ORDER BY ALL"
    before = ask(sql, "--store", target.root)
    assert index.complete(target, enough=5) == 0
    assert index.complete(target, enough=4) == 4
    assert ask(sql, "--store", target.root) == before
    list(keep.add(target, runs[4:]))
    assert len(ask(sql, "--store", target.root)) == len(before) * 6 // 4
    assert index.complete(target, enough=1) == 2
    everything = ask(sql, "--store", target.root)
    # A run that is taken away, or torn, is not told by the index either; nor is one told twice.
    files_of(target.root)[0].unlink()
    assert len(ask(sql, "--store", target.root)) == len(before) * 5 // 4
    double = next(target.index.glob("*.parquet"))
    (target.index / "zz.parquet").write_bytes(double.read_bytes())
    assert len(ask(sql, "--store", target.root)) == len(before) * 5 // 4
    for file in target.index.glob("*.parquet"):
        damaged_inside(file)
    assert len(ask(sql, "--store", target.root)) == len(before) * 5 // 4
    for file in target.index.glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:100])
    assert len(ask(sql, "--store", target.root)) == len(before) * 5 // 4
    list(keep.add(target, runs))
    assert ask(sql, "--store", target.root) == everything


def test_a_damaged_run_keeps_no_other_out_of_the_store(tmp_path: Path) -> None:
    target = place.make_store(tmp_path / "store")
    runs = tidy.runs(map(results.load, BASE), pytest.fail)
    list(keep.add(target, runs))
    damaged_inside(files_of(target.root)[2])
    assert index.complete(target, enough=1) == 5
    assert index.complete(target, enough=1) == 0

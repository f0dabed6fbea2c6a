# SPDX-License-Identifier: GPL-2.0-only
"""A result that does not tell when its run began is read by every command, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import otava_reader
import recorded
from made_up_series import less_memory, written
from page_alloc_bench.cli import main


def call(*arguments: object) -> Result:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert "Traceback" not in done.output, done.output
    assert "internal error" not in done.output, done.output
    return done


def undated(path: Path, number: int = 0, side: Path = recorded.BASE) -> Path:
    document: dict[str, Any] = recorded.documents(side)[number]
    del document["run"]["started_at"]
    path.write_text(json.dumps(document))
    return path


def test_trend_has_no_place_for_it_and_says_so(tmp_path: Path) -> None:
    done = call("trend", undated(tmp_path / "one.json"))
    assert done.exit_code == 2
    assert "1 run does not tell when it began: left out" in done.stderr
    assert "no figure was measured on two kernels" in done.stderr


def test_the_other_runs_are_a_trend_as_if_it_were_not_there(tmp_path: Path) -> None:
    files = written(tmp_path / "dated", less_memory(8))
    alone = call("trend", files, "--format=json")
    more = undated(tmp_path / "undated.json")
    beside = call("trend", files, more, "--format=json")
    assert beside.stdout == alone.stdout
    assert beside.exit_code == alone.exit_code
    assert "1 run does not tell when it began" in beside.stderr


def test_otava_has_no_row_for_it(tmp_path: Path) -> None:
    dated = tmp_path / "dated.json"
    dated.write_text(json.dumps(recorded.documents(recorded.BASE)[1]))
    done = call("export", "--format=otava", undated(tmp_path / "undated.json"), dated)
    assert done.exit_code == 0
    assert "1 run does not tell when it began: left out" in done.stderr
    names = [name for name in otava_reader.headers(done.stdout) if ":" in name]
    assert len(otava_reader.read(done.stdout, ["release"], names).time) == 1


@pytest.mark.parametrize("place", ["-", "file"])
def test_otava_is_refused_where_nothing_is_left(place: str, tmp_path: Path) -> None:
    to = tmp_path / "otava.csv" if place == "file" else place
    done = call("export", "--format=otava", "-o", to, undated(tmp_path / "one.json"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no run tells when it began" in done.stderr
    assert not (tmp_path / "otava.csv").exists()


def test_a_store_has_it_and_compares_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for side in (recorded.BASE, recorded.NEW):
        for number in range(3):
            undated(tmp_path / f"{side.name}-{number}.json", number, side)
    assert call("store", "add", store, *tmp_path.glob("*.json")).exit_code == 0
    assert call("store", "check", store).exit_code == 0
    sides = [f"kernel.cmdline=*init_on_alloc={on}*" for on in (1, 0)]
    of_store = call("compare", "--store", store, sides[0], "--vs", sides[1], "--format=json")
    files = [sorted(tmp_path.glob(f"{side.name}*")) for side in (recorded.BASE, recorded.NEW)]
    of_files = call("compare", *files[0], "--vs", *files[1], "--format=json")
    assert of_store.exit_code == of_files.exit_code == 2, of_store.output
    told = [json.loads(done.stdout) for done in (of_store, of_files)]
    assert told[0]["sentence"] == told[1]["sentence"]
    medians = [
        [(r["metric"], r["order"], r["base"]["median"], r["new"]["median"]) for r in each["rows"]]
        for each in told
    ]
    assert medians[0] == medians[1]
    assert len(medians[0]) > 10


def test_a_result_of_the_ancestor_never_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "ancestor.json"
    path.write_text(
        json.dumps({"idle_available_bytes_order0": [10**9], "kernel_page_allocs_order0": [5]})
    )
    assert call("trend", path).exit_code == 2
    assert call("export", "--format=otava", path).exit_code == 2
    assert call("store", "add", tmp_path / "store", path).exit_code == 0
    done = call("compare", "--store", tmp_path / "store", "host=*", "--vs", "host=*")
    assert (done.exit_code, "a run counts once" in done.stderr) == (3, True), done.output

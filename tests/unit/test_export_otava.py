# SPDX-License-Identifier: GPL-2.0-only
"""Apache Otava takes what is exported: a row a boot, in the order of time, of one machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otava_reader
from exported import FILES, call, cut_short, edited, export
from page_alloc_bench.analysis import per_run, results

MEMORY = "idle_available_bytes_order0:median"


def write(place: Path, number: int, edit: Callable[[dict[str, Any]], object]) -> Path:
    document = json.loads(json.dumps(results.load(FILES[0]).document))
    document["run"]["boot_id"] = f"boot-{number}"
    # What a run is told apart by is what it has measured.
    document["idle_available_bytes_order4"][0] += 4096 * number
    document["run"]["started_at"] = f"2026-01-{number:02}T00:00:00Z"
    edit(document)
    path = place / f"{number}.json"
    path.write_text(json.dumps(document))
    return path


def test_otava_reads_every_column() -> None:
    text = export("otava", *reversed(FILES))
    names = otava_reader.headers(text)
    figures = [name for name in names if ":" in name]
    assert names[:2] == ["time", "release"]
    assert names[2:] == figures
    series = otava_reader.read(text, ["release"], figures)
    loaded = sorted(map(results.load, FILES), key=lambda each: str(each.run["started_at"]))
    assert len(series.time) == len(FILES)
    for statistic in per_run.statistics(loaded[0]):
        wanted = [float(per_run.statistics(each)[statistic]) for each in loaded]
        assert series.data[f"{statistic.key}:{statistic.statistic}"] == wanted
    assert set(series.attributes["release"]) == {loaded[0].run["kernel"]["release"]}


def test_a_commit_that_every_run_is_labelled_with_is_an_attribute(tmp_path: Path) -> None:
    def label(number: int) -> Callable[[dict[str, Any]], object]:
        return lambda document: document["run"].update(labels={"commit": f"c{number}"})

    files = [write(tmp_path, number, label(number)) for number in (3, 1, 2)]
    series = otava_reader.read(export("otava", *files), ["commit"], [MEMORY])
    assert series.attributes["commit"] == ["c1", "c2", "c3"]


def test_runs_of_one_boot_are_one_row(tmp_path: Path) -> None:
    def more(document: dict[str, Any]) -> None:
        document["run"]["boot_id"] = "boot-1"
        values = document["idle_available_bytes_order0"]
        document["idle_available_bytes_order0"] = [value + 4096 for value in values]

    files = [write(tmp_path, 1, lambda _: None), write(tmp_path, 2, more)]
    series = otava_reader.read(export("otava", *files), [], [MEMORY])
    first = np.median(json.loads(files[0].read_text())["idle_available_bytes_order0"])
    assert series.data[MEMORY] == [first + 2048]


def test_what_not_every_boot_has_is_left_out_and_told(tmp_path: Path) -> None:
    lacking = write(tmp_path, 2, lambda d: d.pop("idle_available_bytes_order0"))
    done = call("export", "--format", "otava", write(tmp_path, 1, lambda _: None), lacking)
    assert done.exit_code == 0, done.output
    assert MEMORY not in otava_reader.headers(done.stdout)
    assert f"{MEMORY} is left out: not every boot has it" in done.stderr


def test_a_run_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    done = call("export", "--format", "otava", FILES[0], FILES[1], edited(tmp_path, cut_short))
    assert done.exit_code == 0, done.output
    assert "1 runs are not complete: left out" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    done = call("export", "--format", "otava", edited(tmp_path, cut_short))
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert "no run is complete" in done.stderr


@pytest.mark.parametrize("what", ["host", "configuration"])
def test_two_machines_or_configurations_are_no_series(tmp_path: Path, what: str) -> None:
    def other(document: dict[str, Any]) -> None:
        if what == "host":
            document["run"]["host_id"] = "f" * 64
        else:
            document["run"]["parameters"]["alloc_orders"] = [0]

    files = [write(tmp_path, 1, lambda _: None), write(tmp_path, 2, other)]
    done = call("export", "--format", "otava", *files)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert "export each to a file of its own" in " ".join(done.stderr.split())


def test_only_what_is_asked_for_is_written() -> None:
    text = export("otava", *FILES, "--metric", "idle_*")
    figures = [name for name in otava_reader.headers(text) if ":" in name]
    assert {name.partition("_")[0] for name in figures} == {"idle"}


@pytest.mark.parametrize("words", [("--fact", "kernel.release"), ("--origin", "x")])
def test_options_of_other_formats_are_refused(words: tuple[str, str]) -> None:
    assert call("export", "--format", "otava", FILES[0], *words).exit_code == 2

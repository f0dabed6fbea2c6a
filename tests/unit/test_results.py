# SPDX-License-Identifier: GPL-2.0-only
"""Result files are read if they are sound, and named in one line if they are not."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from page_alloc_bench.analysis import results
from page_alloc_bench.runner.result import document as runner
from page_alloc_bench.runner.result.case import Case, split_key

DATA = Path(__file__).resolve().parents[1] / "data"
ONE = DATA / "results/init_on_alloc-1/00.json.gz"


def plain() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(ONE.read_bytes()))
    return document


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "result.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_a_result_is_read_as_it_was_written() -> None:
    document = plain()
    result = results.load(ONE)
    assert result.run == document.pop("run")
    assert len(result.metrics) == len(document)
    for key, values in document.items():
        metric = result.metrics[split_key(key)]
        assert metric.values.dtype == np.int64
        assert metric.values.tolist() == values
    assert result.cases == [Case(0), Case(4)]
    assert result.document == plain()


def test_unit_and_direction_come_from_the_declaration() -> None:
    metrics = results.load(ONE).metrics
    memory = metrics["idle_available_bytes", Case(0)]
    latency = metrics["kernel_page_alloc_latencies_ns", Case(4)]
    count = metrics["kernel_page_allocs", Case(0)]
    assert (memory.unit, memory.better) == ("bytes", "higher")
    assert (latency.unit, latency.better) == ("ns", "lower")
    assert (count.unit, count.better) == ("blocks", None)


def test_a_file_may_be_plain_whatever_its_name(written: Any) -> None:
    result = results.load(written(json.dumps(plain())))
    assert result.identity == results.load(ONE).identity


def test_gzip_in_parts_and_with_padding_is_read(written: Any) -> None:
    text = json.dumps(plain()).encode()
    parts = gzip.compress(text[:5000]) + gzip.compress(text[5000:]) + bytes(512)
    assert results.load(written(parts)).identity == results.load(ONE).identity


@pytest.mark.parametrize("version", results.KNOWN_VERSIONS)
def test_every_schema_version_ever_written_can_be_read(version: int) -> None:
    result = results.load(DATA / f"schema-versions/{version}.json.gz")
    assert result.run["schema_version"] == version
    assert result.run["complete"] is True
    assert result.values("idle_available_bytes", 0).size == 3


def test_the_version_that_the_runner_writes_can_be_read() -> None:
    assert runner.SCHEMA_VERSION in results.KNOWN_VERSIONS


def test_what_a_newer_runner_adds_does_no_harm(written: Any) -> None:
    document = plain()
    document["run"]["new_fact"] = document["run"]["machine"]["new_fact"] = {"a": 1}
    assert results.load(written(json.dumps(document))).run["new_fact"] == {"a": 1}


def test_a_metric_that_is_not_declared_is_named_and_not_left_out(written: Any) -> None:
    document = plain()
    document["new_metric_order0"] = [1]
    with pytest.raises(results.ResultError, match="new_metric is not a metric that this version"):
        results.load(written(json.dumps(document)))


def spoil(change: Callable[[dict[str, Any]], Any]) -> str:
    document = plain()
    change(document)
    return json.dumps(document)


BAD = {
    "truncated": (json.dumps(plain())[:-500], "cut short"),
    "empty": ("", "cut short or empty"),
    "text": ("hello\nworld", "is not JSON"),
    "binary": (b"\x7fELF\x02\xff\xfe", "is not JSON"),
    "gzip cut short": (ONE.read_bytes()[:3000], "cut short"),
    "gzip damaged": (ONE.read_bytes()[:40] + b"\xff" * 500, "cannot be decompressed"),
    "gzip with a byte of its data wrong": (ONE.read_bytes()[:-6] + b"\0" * 6, "is damaged"),
    "gzip of which only the magic is there": (ONE.read_bytes()[:3], "is cut short (gzip)"),
    "gzip with text behind it": (ONE.read_bytes() + b"junk", "has 4 bytes behind the end of its"),
    "gzip with a torn second part": (ONE.read_bytes() + ONE.read_bytes()[:99], "is cut short (gz"),
    "gzip of two results": (ONE.read_bytes() * 2, "is not JSON: Extra data"),
    "zstd": (
        b"\x28\xb5\x2f\xfd" + b"\0" * 9,
        "is compressed by zstd; only gzip is read: unpack it",
    ),
    "xz": (b"\xfd7zXZ\0" + b"\0" * 9, "is compressed by xz"),
    "array": ("[1, 2]", "is not a JSON object"),
    "foreign": ('{"benchmarks": []}', "is not a result"),
    "falba's": ('{"run": {"name": "x"}}', "is not a result"),
    "foreign key": (spoil(lambda d: d.update(surprise=[1])), "names no order"),
    "version": (spoil(lambda d: d["run"].update(schema_version=2)), "schema_version 2"),
    "version true": (spoil(lambda d: d["run"].update(schema_version=True)), "schema_version True"),
    "no kernel": (spoil(lambda d: d["run"].pop("kernel")), "run: 'kernel' is a required"),
    "kernel": (spoil(lambda d: d["run"]["kernel"].update(release=6.1)), "run/kernel/release: "),
    "phases": (spoil(lambda d: d["run"].update(phases=[1])), "run/phases/0: "),
    "NaN": (spoil(lambda d: d.update(idle_available_bytes_order0=[1, float("nan")])), "NaN"),
    "NaN in run": (spoil(lambda d: d["run"]["machine"].update(uptime_s=float("nan"))), "NaN"),
    "infinite": (json.dumps(plain()).replace('"uptime_s": ', '"uptime_s": 1e999, "x": '), "1e999"),
    "scalar": (spoil(lambda d: d.update(idle_available_bytes_order0=1)), "is not an array"),
    "fraction": (spoil(lambda d: d.update(idle_available_bytes_order0=[1.5])), "not an integer"),
    "boolean": (spoil(lambda d: d.update(idle_available_bytes_order0=[1, True])), "not an integer"),
    "nested": (spoil(lambda d: d.update(idle_available_bytes_order0=[[1]])), "not an integer"),
    "negative": (spoil(lambda d: d.update(idle_available_bytes_order0=[-1])), "negative"),
    "huge": (spoil(lambda d: d.update(idle_available_bytes_order0=[1 << 63])), "2^63"),
    "nothing": (json.dumps({"run": plain()["run"]}), "has no measurement"),
    "deep": ("[" * 100_000, "is not JSON"),
}


# What one part of the object under "run" needs of another, in a run that was counted.
COUNTED = DATA / "counted/6.1/1.json.gz"
PARTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "page size": (lambda run: run["kernel"].pop("page_size_bytes"), "run/kernel: 'page_size_"),
    "cases": (lambda run: run["exact"].pop("cases"), "run/exact: 'cases' is"),
    "case": (lambda run: run["exact"]["cases"][1].pop("order"), "run/exact/cases/1: 'order' is"),
    "no operation": (lambda run: run["exact"]["cases"][1].update(allocs=0), "cases/1: counts noth"),
    "where": (lambda run: run["where"][0].pop("functions"), "run/where/0: 'functions' is"),
    "no operation there": (lambda run: run["where"][0].update(operations=0), "counts nothing"),
    "total": (lambda run: run["where"][0]["total"].pop("loads"), "run/where/0/total: has not"),
    "no total": (lambda run: run["where"][0]["total"].update(instructions=None), "has not the sum"),
    "function": (lambda run: run["where"][0]["functions"][0].pop("loads"), "functions/0: 'loads'"),
    "inherited": (lambda run: run.update(inherited={}), "run/inherited: 'in_force' is"),
    "preflight": (lambda run: run.update(preflight=[{"name": "x"}]), "run/preflight/0: '"),
    "clocks": (lambda run: run.update(clocks=[{"cpu": 0}]), "run/clocks/0: 'cost_ps' is"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_there_is_whole(name: str, written: Any) -> None:
    document = json.loads(gzip.decompress(COUNTED.read_bytes()))
    results.load(written(json.dumps(document)))
    spoil_it, reason = PARTS[name]
    spoil_it(document["run"])
    with pytest.raises(results.ResultError, match=re.escape(reason)):
        results.load(written(json.dumps(document)))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line_that_names_the_file(name: str, written: Any) -> None:
    content, reason = BAD[name]
    path = written(content)
    with pytest.raises(results.ResultError, match=re.escape(reason)) as raised:
        results.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(results.ResultError, match=r"gone\.json: No such file"):
        results.load(tmp_path / "gone.json")


def test_files_directories_and_globs_are_found(tmp_path: Path) -> None:
    for name in ("b.json", "a.json.gz", "notes.txt", "c.json/x", "d/e.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b, e = tmp_path / "a.json.gz", tmp_path / "b.json", tmp_path / "d/e.json"
    assert results.find([tmp_path]) == [a, b]
    assert results.find([b, str(tmp_path / "*.gz")]) == [b, a]
    assert results.find([str(tmp_path / "**/*.json")]) == [b, e]
    assert results.find([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]


def test_what_names_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(results.ResultError, match="no such file"):
        results.find([str(tmp_path / "*.json")])
    with pytest.raises(results.ResultError, match=r"no \.json"):
        results.find([tmp_path])


def test_copies_of_one_run_are_known_as_such(written: Any) -> None:
    other = results.load(DATA / "results/init_on_alloc-1/01.json.gz")
    assert results.load(written(json.dumps(plain(), indent=1))).identity != other.identity


def test_a_copy_of_which_boot_time_or_a_late_latency_was_edited_is_a_copy(written: Any) -> None:
    document = plain()
    document["run"].update(boot_id="another", started_at="2026-01-01T00:00:00Z")
    document["kernel_page_alloc_latencies_ns_order0"][-1] += 1
    copy = results.load(written(json.dumps(document)))
    assert len(copy.values("kernel_page_alloc_latencies_ns", 0)) >= 1000
    assert copy.identity == results.load(ONE).identity


def test_few_measurements_that_are_the_same_in_two_boots_are_two_runs(written: Any) -> None:
    """A count of instructions, say, that is exact."""

    def identity(boot_id: str) -> str:
        document = {"run": {**plain()["run"], "boot_id": boot_id}}
        document["idle_available_bytes_order0"] = [5 * 2**30, 6 * 2**30]
        document["kernel_page_alloc_latencies_ns_order0"] = [0] * 5000  # a coarse clock
        return results.load(written(json.dumps(document))).identity

    assert identity("a") == identity("a")
    assert identity("a") != identity("b")


@pytest.mark.parametrize("timed", [True, False])
def test_an_empty_contracted_metric_was_not_measured(tmp_path: Path, timed: bool) -> None:
    """With --latencies none, say; a sample alone may be empty: the histogram has all operations."""
    document = json.loads(gzip.decompress(ONE.read_bytes()))
    of_allocs = [name for name in document if re.match("kernel_page_alloc_latenc.*_order0", name)]
    assert len(of_allocs) > 1
    if not timed:
        for name in of_allocs:
            del document[name]
    document["kernel_page_alloc_latencies_ns_order0"] = []
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    loaded = results.load(path)
    assert (("kernel_page_alloc_latencies_ns", Case(0)) in loaded.metrics) is timed

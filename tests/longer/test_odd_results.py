# SPDX-License-Identifier: GPL-2.0-only
"""No result, however odd, brings a command to a traceback, or compare to a verdict of its own.

Results that the schema allows, and others that it nearly allows, are made of recorded ones by a
seeded choice of changes. SEED repeats the choices of a run: PAB_ODD_SEED=7 pytest …
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import by_schema
import recorded
from page_alloc_bench.analysis import results
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import document as runner
from recorded import Document

SEED = int(os.environ.get("PAB_ODD_SEED", "1"))
COUNTED = recorded.TOP / "tests/data/counted"
SIDE = 6  # runs: enough for a verdict
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**400, 0.5, -0.0, 1e308,
    5e-324, "", "x", "0", "nan", "\x00", "\x1b[31m", "a\nb\r\nc", "\ud800", "\u202e", "ü" * 9,
    "x" * 5000, "<script>", "'; DROP TABLE runs; --", "%s{}", "2026-13-45T99:99:99Z", [], {}, [[]],
    [None], [-1], ["1"], [0.5], [2**63], {"": ""}, {"a": {"b": []}},
)  # fmt: skip


@functools.cache
def runs(orders: int = 2) -> list[str]:
    """The recorded runs of one kernel as JSON, with small samples, for they are many.

    orders: 1 for what takes long for each order.
    """
    documents = recorded.documents(recorded.BASE)[: 2 * SIDE]
    for document in documents:
        for name in list(document):
            if orders == 1 and name.endswith("_order4"):
                del document[name]
            elif "_latencies_ns" in name:
                document[name] = document[name][:200]
        if orders == 1:
            for part in ("phases", "iterations"):
                items = document["run"][part]
                document["run"][part] = [item for item in items if item["order"] == 0]
    return [json.dumps(document) for document in documents]


@functools.cache
def counted() -> list[str]:
    """The recorded runs of two kernels whose instructions were counted, as JSON."""
    sides = [recorded.documents(COUNTED / release) for release in ("6.1", "6.12")]
    return [json.dumps(document) for side in sides for document in side]


@functools.cache
def validator() -> jsonschema.protocols.Validator:
    return by_schema.Validator(runner.schema())


@pytest.fixture(autouse=True)
def never_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The power never fails here, and thousands of files need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a result; of a long array only the ends."""
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for index in {*range(min(3, len(value))), len(value) - 1} - {-1}:
            yield from places(value[index], (*path, index))


def change(rng: random.Random, document: Document) -> None:
    """Make one change somewhere."""
    # Each name as often as any other: most places are inside of one long table.
    name = rng.choice(list(document["run"]) if rng.random() < 0.6 else list(document))
    root = ("run", name) if name in document["run"] else (name,)
    *before, last = rng.choice(list(places(at(document, root), root)))
    parent = at(document, before)
    value = parent[last]
    kind = rng.randrange(6)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(value, list):
        value.append(rng.choice([*value[-1:], *ODD]))
    elif kind == 2 and isinstance(value, list):
        rng.shuffle(value)
    elif kind == 3 and isinstance(value, list):
        del value[rng.randrange(len(value) + 1) :]
    elif kind == 4 and isinstance(value, dict):
        value[str(rng.choice(ODD))[:50]] = rng.choice(ODD)
    elif type(value) is int:  # what the schema may well allow
        parent[last] = rng.choice([0, 1, 2**31, 2**62, 2**63 - 1, value * 1000, rng.choice(ODD)])
    else:
        parent[last] = copy.deepcopy(rng.choice(ODD))


def at(document: Any, path: Any) -> Any:
    return functools.reduce(lambda value, step: value[step], path, document)


def odd(rng: random.Random, among: Sequence[str]) -> Document:
    """One of the recorded results with one change, or a few."""
    document: Document = json.loads(rng.choice(among))
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        change(rng, document)
        if not document or not document.get("run") or not isinstance(document["run"], dict):
            break
    return document


def readable(rng: random.Random, path: Path, among: Sequence[str]) -> None:
    """Write an odd result that is read: the others are refused by the same code everywhere."""
    while True:
        path.write_text(json.dumps(odd(rng, among)))
        with contextlib.suppress(results.ResultError):
            results.load(path)
            return


def call(*arguments: object) -> tuple[int, str, str]:
    """Run a command; return its exit code, stdout and stderr."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    out.flush()
    assert isinstance(code, int)
    return code, out.buffer.getvalue().decode(errors="replace"), err.getvalue()  # type: ignore[attr-defined]


def fine(allowed: set[int], what: str, *arguments: object) -> int:
    """Run a command that may end in these ways only, and in each with words, not a traceback."""
    code, _, err = call(*arguments)
    assert "Traceback" not in err, f"{what}: {err}"
    assert "internal error" not in err, f"{what}: {err}"
    assert code in allowed, f"{what}: exit code {code}: {err}"
    if code:
        assert err.count("error: ") <= 1, f"{what}: {err}"
    return code


SHOWN: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "show": lambda path, _: ("show", path),
    "facts": lambda path, _: ("show", "--facts", path),
    "csv": lambda path, _: ("export", "--format", "csv", "--fact", "all", path),
    "openmetrics": lambda path, _: ("export", "--format", "openmetrics", path),
    "kcidb": lambda path, _: ("export", "--format", "kcidb", path),
    "falba": lambda path, to: ("export", "--format", "falba", "-o", to / "db", path),
}
SLOW: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "parquet": lambda path, to: ("export", "--format", "parquet", "-o", to / "p", path),
    "query": lambda path, _: ("query", "SELECT * FROM facts, runs, metrics, samples LIMIT 9", path),
}


def try_all(
    commands: dict[str, Callable[[Path, Path], tuple[object, ...]]],
    tmp_path: Path,
    count: int,
    among: Sequence[str],
) -> None:
    """Try each command on odd results that are made of those given.

    Reading is the same for all: of those that the first command refuses, one other is to refuse
    them too.
    """
    rng = random.Random(SEED)
    seen: dict[bool, int] = {True: 0, False: 0}
    ends: dict[int, int] = {}
    (first, words), *others = commands.items()
    for number in range(count):
        document = odd(rng, among)
        seen[validator().is_valid(document)] += 1
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document))
        code = fine({0, 2}, f"seed {SEED}, result {number}, {first}", *words(path, tmp_path))
        ends[code] = ends.get(code, 0) + 1
        for name, its_words in others if code == 0 else [others[number % len(others)]]:
            to = tmp_path / f"{number}-{name}"
            to.mkdir()
            what = f"seed {SEED}, result {number}, {name}"
            fine({code}, what, *its_words(path, to))
        path.unlink()
    # Else one of the two kinds, or of the two ends, was not tried.
    assert min(seen.values()) > count // 10, seen
    assert min(ends.get(code, 0) for code in (0, 2)) > count // 10, ends


def test_odd_results_are_shown_and_exported_or_refused(tmp_path: Path) -> None:
    try_all(SHOWN, tmp_path, 120, runs())


def test_odd_counted_results_are_shown_and_exported_or_refused(tmp_path: Path) -> None:
    quick = {name: words for name, words in SHOWN.items() if name != "falba"}  # a file for a fact
    try_all(quick, tmp_path, 40, counted())


def test_odd_results_are_queried_or_refused(tmp_path: Path) -> None:
    try_all(SLOW, tmp_path, 25, runs())


# Of an odd result, beside another and in a store that has both: how a command may end.
IN_TIME: dict[str, tuple[set[int], Callable[[Path, Path, Path], tuple[object, ...]]]] = {
    "otava": ({0, 2}, lambda odd, _, to: ("export", "--format", "otava", "-o", to / "otava", odd)),
    "trend": ({0, 2, 3}, lambda odd, other, _: ("trend", odd, other)),
    "store add": ({0}, lambda odd, other, to: ("store", "add", to / "store", odd, other)),
    "store check": ({0}, lambda _, __, to: ("store", "check", to / "store")),
    "compare --store": (
        {0, 2, 3},
        lambda _, __, to: ("compare", "--store", to / "store", "complete=*", "--vs", "release=*"),
    ),
    "trend --store": ({0, 2, 3}, lambda _, __, to: ("trend", "--store", to / "store")),
    "query --store": ({0}, lambda _, __, to: ("query", "--store", to / "store", "FROM runs")),
}


@pytest.mark.parametrize("kind", ["timed", "counted"])
def test_odd_results_are_stored_and_take_part_in_series(kind: str, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    among = {"timed": runs(1), "counted": counted()}[kind]
    other, path = tmp_path / "other.json", tmp_path / "odd.json"
    other.write_text(among[-1])
    for number in range(8):
        readable(rng, path, among[:-1])
        if number == 0:  # what was found missing by hand
            document = json.loads(among[0])
            del document["run"]["started_at"]
            path.write_text(json.dumps(document))
        to = tmp_path / str(number)
        to.mkdir()
        for name, (allowed, words) in IN_TIME.items():
            what = f"seed {SEED}, {kind} result {number}, {name}"
            fine(allowed, what, *words(path, other, to))


def test_one_odd_result_among_six_is_no_regression(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    base = recorded.write(tmp_path / "base", map(json.loads, runs(1)[:SIDE]))
    new = recorded.write(tmp_path / "new", map(json.loads, runs(1)[SIDE:]))
    assert call("compare", base, "--vs", new)[0] in (0, 2)
    forms = ("text", "table", "markdown", "csv", "json")
    place = new / "00.json"
    place.write_text(json.dumps({"run": {}}))
    assert call("compare", new, "--vs", base)[0] == 3  # as every command refuses it
    codes = set()
    for number in range(60):
        readable(rng, place, runs(1))
        what = f"seed {SEED}, result {number}, compare"
        words = ("--format", forms[number % len(forms)])
        sides = (base, "--vs", new) if number % 2 else (new, "--vs", base)
        codes.add(fine({0, 2, 3}, what, "compare", *words, *sides))
    assert 3 in codes
    assert codes & {0, 2}


def test_odd_results_are_drawn_or_refused(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    other = tmp_path / "other.json"
    other.write_text(runs(1)[0])
    for number in range(4):
        paths = [tmp_path / f"odd{place}.json" for place in range(6)]  # drawing takes long
        for path in paths:
            readable(rng, path, runs(1))
        what = f"seed {SEED}, results {number}, report"
        page = tmp_path / "report.html"
        fine({0, 2, 3}, what, "report", other, "--vs", *paths, "-o", page)


FILES: dict[str, Callable[[Path, Path, Path], tuple[object, ...]]] = {
    "show": lambda path, _other, _to: ("show", path),
    "compare": lambda path, other, _to: ("compare", path, "--vs", other),
    "report": lambda path, other, to: ("report", path, "--vs", other, "-o", to / "page.html"),
    **{
        f"export {form}": functools.partial(
            lambda form, path, _other, to: ("export", "--format", form, "-o", to / form, path), form
        )
        for form in ("csv", "parquet", "openmetrics", "kcidb", "falba", "otava")
    },
    "trend": lambda path, other, _to: ("trend", path, other),
    "store": lambda path, other, to: ("store", "add", to / "store", path, other),
    "query": lambda path, _other, _to: ("query", "SELECT file FROM runs", path),
}


@pytest.mark.parametrize("command", FILES)
def test_a_file_name_may_be_any_bytes(command: str, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9\n\x1b.json"))
    path.write_text(runs(1)[0])
    other = tmp_path / "other.json"
    other.write_text(runs(1)[1])
    # One run per side shows nothing, nor does one kernel.
    expected = 2 if command in ("compare", "trend") else 0
    assert fine({expected}, command, *FILES[command](path, other, tmp_path)) == expected

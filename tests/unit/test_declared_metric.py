# SPDX-License-Identifier: GPL-2.0-only
"""A metric is declared once, and found everywhere."""

from __future__ import annotations

import json
import random
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

import made_up_series
import recorded
import told_everywhere
from manual import tables
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import declared, document, metrics
from page_alloc_bench.runner.result.case import SUFFIX
from page_alloc_bench.runner.telling.ktap import Ktap
from page_alloc_bench.runner.workloads import available_memory
from reporting import brief, of_order_0

RUNS = 6  # a side, so that a verdict can be had

MADE_UP = "made_up_widgets"
DECLARATION = f'''
from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank

METRICS = (
    Metric(
        "{MADE_UP}", "widgets", "lower", "Widgets that were made up; one item per iteration.",
        Kind.AMOUNT, "made-up widgets", "widgets", per="iteration", family="widgets",
        rank=Rank.PRIMARY, in_table=True, section="widgets", phase="idle", subtest="idle",
        remark="{{value:,}} widgets in all",
    ),
)
'''


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file of declarations."""
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared/made_up.py").write_text(textwrap.dedent(DECLARATION))
    monkeypatch.setattr(declared, "__path__", [*declared.__path__, str(tmp_path / "declared")])
    metrics.forget()
    yield
    monkeypatch.undo()
    metrics.forget()


def with_widgets(number: int, document: dict[str, Any]) -> dict[str, Any]:
    rng = random.Random(number)
    return {**document, f"{MADE_UP}_order0": [rng.randrange(900, 1100) + 500 * (number % 2)]}


@pytest.fixture
def sides(made_up: None, tmp_path: Path) -> tuple[Path, Path]:
    """Two sides by turns that have the made-up metric; new makes more of them, which is worse."""
    documents = recorded.documents(recorded.BASE)[: 2 * RUNS]
    for each in documents:
        of_order_0(each)  # each picture takes a while
    made = [with_widgets(number, document) for number, document in enumerate(documents)]
    for number, each in enumerate(made):
        each["run"]["labels"] = {"side": ("base", "new")[number % 2]}
    base = recorded.write(tmp_path / "base", made[::2])
    return base, recorded.write(tmp_path / "new", made[1::2])


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def printed(*arguments: object, code: int = 0) -> str:
    done = call(*arguments)
    assert done.exit_code == code, done.output
    return done.output


def test_a_metric_that_is_declared_in_one_place_is_in_every_output(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    base, new = sides
    one = base / "00.json"
    value = json.loads(one.read_text())[f"{MADE_UP}_order0"][0]
    shown = printed("show", one)
    assert re.search(rf"made-up widgets, widgets +1 .* {value:,}\b", shown)
    assert f"{value:,} widgets in all" in shown
    figures = json.loads(printed("show", one, "--metric", f"{MADE_UP}_order0", "--json"))
    assert figures["max"] == value
    compared = call("compare", base, "--vs", new)
    assert "widgets" in compared.output
    rows = json.loads(call("compare", "--format", "json", base, "--vs", new).output)["rows"]
    row = next(row for row in rows if row["metric"] == MADE_UP)
    assert (row["family"], row["verdict"]) == ("widgets", "worse")
    page = tmp_path / "report.html"
    assert call("report", base, "--vs", new, "-o", page).exit_code == 0
    assert "made-up widgets, order 0" in page.read_text()
    assert 'id="widgets-order0' in page.read_text()
    for form in ("table", "text", "markdown", "csv"):
        assert "widgets" in call("compare", "--format", form, base, "--vs", new).output


def test_every_export_a_query_and_a_store_have_its_value(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    one = sides[0] / "00.json"
    value = json.loads(one.read_text())[f"{MADE_UP}_order0"][0]
    csv = printed("export", "--format", "csv", one)
    assert f"{MADE_UP},0,1,{value},widgets,lower" in csv
    gauge = rf"page_alloc_bench_{MADE_UP}\{{.*alloc_order=\"0\".*\}} {value}"
    assert re.search(gauge, printed("export", "--format", "openmetrics", one))
    told = told_everywhere.values(MADE_UP, 0, one, tmp_path)
    assert told == {name: [value] for name in (*told_everywhere.FORMATS, "query", "store")}


def test_a_store_is_compared_by_it_as_its_files_are(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for side in sides:
        printed("store", "add", store, side)
    told = call("compare", "--format", "json", "--store", store, "labels.side=base", "--vs",
                "labels.side=new").stdout  # fmt: skip
    row = next(row for row in json.loads(told)["rows"] if row["metric"] == MADE_UP)
    assert (row["family"], row["verdict"]) == ("widgets", "worse")


def test_a_trend_names_the_kernel_that_changed_it(made_up: None, tmp_path: Path) -> None:
    rng = random.Random(2)

    def change(document: recorded.Document, kernel: int, _boot: int) -> recorded.Document:
        brief(document)
        return {**document, f"{MADE_UP}_order0": [rng.randrange(900, 1100) + 500 * (kernel >= 8)]}

    files, page = made_up_series.written(tmp_path / "runs", change), tmp_path / "trend.html"
    told = json.loads(call("trend", "--format=json", files).stdout)
    [series] = [each for each in told["series"] if each["metric"] == MADE_UP]
    assert [each["kernel"] for each in series["changes"]] == [made_up_series.KERNELS[8]]
    assert call("trend", "-o", page, files).exit_code == 1
    assert "made-up widgets" in page.read_text()


def test_the_manual_has_it(made_up: None) -> None:
    [table] = [part for part in tables.GENERATED if part.name == "metrics"]
    assert f"| `{MADE_UP}` | widgets | lower | Widgets that were made up;" in table.make()


def test_it_is_in_the_schema_and_in_ktap_too(made_up: None) -> None:
    made = document.Document({"kernel": {"release": "6.1.0", "machine": "x86_64"}})
    made.append(MADE_UP, 4, 7)
    told: list[str] = []
    ktap = Ktap(told.append, [4], available_memory.phases([4]))
    ktap.loaded(made)
    ktap.phase_ended({"name": "configure", "order": 4}, None)
    ktap.phase_ended({"name": "idle", "order": 4}, None)
    assert f"  # {MADE_UP}_order4: 7\n" in told
    schema = json.loads(metrics.schema_text(json.dumps(document.schema(), indent=2)))
    jsonschema.Draft202012Validator(schema["patternProperties"][f"^{MADE_UP}{SUFFIX}$"])
    assert schema["patternProperties"][f"^{MADE_UP}{SUFFIX}$"]["unit"] == "widgets"


def test_without_its_declaration_it_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(with_widgets(0, recorded.documents(recorded.BASE)[0])))
    for command in (["show"], ["compare", "--vs", path], ["export", "--format", "csv"]):
        done = call(command[0], path, *command[1:])
        assert done.exit_code != 0
        assert f"{MADE_UP} is not a metric that this version knows" in done.output
    with pytest.raises(metrics.UndeclaredError, match=MADE_UP):
        document.Document({}).put(MADE_UP, 0, [1])

# SPDX-License-Identifier: GPL-2.0-only
"""A metric is declared once, and found everywhere; a figure is the same whoever tells it."""

from __future__ import annotations

import ast
import functools
import json
import random
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

import page_alloc_bench
import recorded
from page_alloc_bench.analysis import amounts, per_run, results, show
from page_alloc_bench.analysis.report import latency
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import declared, document, metrics, quantile, summary, units
from page_alloc_bench.runner.result.case import SUFFIX, Case, key, split_key
from page_alloc_bench.runner.result.figures import of as figures_of
from page_alloc_bench.runner.telling.ktap import Ktap
from page_alloc_bench.runner.workloads import available_memory
from reporting import of_order_0

PACKAGE = Path(page_alloc_bench.__file__).parent
FILES = sorted((Path(__file__).parents[1] / "data/results").rglob("*.json.gz"))
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
    csv = printed("export", "--format", "csv", one)
    assert f"{MADE_UP},0,1,{value},widgets,lower" in csv
    gauge = rf"page_alloc_bench_{MADE_UP}\{{.*alloc_order=\"0\".*\}} {value}"
    assert re.search(gauge, printed("export", "--format", "openmetrics", one))
    assert f"order_0.{MADE_UP}.median" in printed("export", "--format", "kcidb", one)
    printed("export", "--format", "falba", "-o", tmp_path / "db", one)
    assert list((tmp_path / "db").rglob(f"{MADE_UP}_order0.json"))
    sql = f"SELECT median FROM metrics WHERE metric = '{MADE_UP}'"
    assert str(value) in printed("query", sql, one)


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


def test_a_direction_without_a_weight_cannot_be_declared() -> None:
    """Else it would not be compared, and nobody would know."""
    with pytest.raises(ValueError, match="no rank and family"):
        metrics.Metric("x", "ns", "lower", "X.", metrics.Kind.AMOUNT, "x")


def test_the_shipped_schema_is_what_the_declarations_make() -> None:
    text = (PACKAGE / "runner/result/schema.json").read_text()
    assert metrics.schema_text(text) == text, "scripts/schema writes it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_recorded_metric_is_declared(path: Path) -> None:
    assert results.load(path).metrics


# Where metrics and phases are planned, shown, compared or exported, none is named. ancestor.py
# reads the results of another program, by their names.
DRIVEN = [
    *(PACKAGE / "analysis").rglob("*.py"),
    *(PACKAGE / "runner/telling").glob("*.py"),
    *(PACKAGE / "runner/measuring").glob("*.py"),
    *(PACKAGE / "runner/result").glob("*.py"),
]
NAMED = (
    "analysis/ancestor.py",
    "runner/measuring/counting.py",  # makes them, of the workloads that count
    "runner/result/counted_metrics.py",
    "runner/result/latency_metrics.py",
    "runner/result/rate_metrics.py",
    "runner/result/event_metrics.py",
    "runner/result/user_metrics.py",
)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a file, those of f-strings too, without docstrings."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
        ):
            yield node.lineno, node.value


def fragment(text: str) -> bool:
    """Whether a string is a metric's name, or enough of one to tell it: _latencies_ns."""
    ends = len(text) > 4 and text.startswith("_")
    return any(text == name or (ends and name.endswith(text)) for name in metrics.every())


def test_nothing_that_shows_metrics_names_one_or_a_phase() -> None:
    phases = {phase.name for phase in metrics.phases() if phase.measured}
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in DRIVEN
        if str(path.relative_to(PACKAGE)) not in NAMED
        for line, text in strings(path)
        if fragment(text) or text in phases
        if (path.parent.name, text) != ("instructions", "atomic")  # those with a LOCK prefix
    ]
    assert found == []


@functools.cache
def result(path: Path) -> results.Result:
    return results.load(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_output_tells_the_same_percentiles(path: Path) -> None:
    """To the last digit that it shows, of every operation of every recorded run."""
    run = result(path)
    compared = per_run.statistics(run)
    shown = "\n".join(line.text for line in show.overview(run, show.MOST_WIDTH))
    told_by_ktap = ktap_of(run)
    for timed in metrics.operations().values():
        for case in run.cases:
            known = figures_of(run.counts, run.run, timed.sample.name, case)
            p999 = known.get("p99.9")
            if p999 is None:
                continue
            measured = run.metrics[timed.sample.name, case]
            told = show.metric_json(run, measured)
            assert told["p99.9"] == p999.value
            for statistic, value in compared.items():
                if (statistic.metric, statistic.case) == (timed.sample.name, case):
                    assert value == told[statistic.statistic]
            drawn = latency.of(run, timed, case)
            assert drawn is not None
            assert drawn.slowest(np.array([1 - 0.999]))[0] == pytest.approx(p999.value, rel=1e-12)
            texts = {f"{p999.value:,.0f}", summary.number(p999.value / 1000, "us")}
            assert any(text in shown for text in texts)
            assert f"p99.9 {p999.value:.12g}" in " ".join(show.metric_text(run, measured))
            assert f"p99.9 {p999.value:.12g}" in told_by_ktap


def ktap_of(run: results.Result) -> str:
    told: list[str] = []
    ktap = Ktap(told.append, run.orders, available_memory.phases(run.orders))
    ktap.loaded(show.as_document(run))
    for name, order in available_memory.phases(run.orders):
        ktap.phase_ended({"name": name, "order": order}, None)
    return "".join(told)


def test_a_row_is_of_one_population() -> None:
    """Median, mean, maximum and number of a latency's row are of all that was timed."""
    run = result(FILES[0])
    timed = next(iter(metrics.operations().values()))
    known = figures_of(run.counts, run.run, timed.sample.name, 0)
    assert known.size == run.values(timed.timed.name, 0)[0] > run.values(timed.sample.name, 0).size
    mean = known.get("mean")
    assert mean is not None
    assert mean.value == run.values(timed.total.name, 0)[0] / known.size
    assert not known.distribution.largest_is_of_more


# Quantiles.


def spread(values: Sequence[int], width: int) -> quantile.Distribution:
    """The values in a histogram of buckets of one width, and a tenth of them as the sample."""
    edges = list(range(0, max(values) + 2 * width, width))
    counts = np.histogram(values, edges)[0].tolist()
    return quantile.Distribution(counts, edges, list(values)[::10], len(values), sum(values))


def test_quantiles_without_a_histogram_are_those_of_the_textbook() -> None:
    values = quantile.of_values(range(1, 1001))
    assert (values.size, values.least, values.largest, values.mean) == (1000, 1, 1000, 500.5)
    for part in (0.0, 0.5, 0.95, 0.99, 0.999, 1.0):
        expected = np.quantile(np.arange(1, 1001), part)
        assert values.quantile(part) == pytest.approx(expected, rel=1e-12)


def test_a_quantile_is_in_the_bucket_that_the_histogram_tells() -> None:
    rng = random.Random(1)
    values = [int(rng.expovariate(1 / 500)) for _ in range(20_000)]
    known = spread(values, 25)
    for part in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = sorted(values)[int(part * len(values))]
        assert abs(known.quantile(part) - exact) <= 25, part
    assert known.mean == sum(values) / len(values)


def test_in_a_bucket_with_few_samples_a_straight_line_leads_to_the_maximum() -> None:
    known = quantile.Distribution([100, 10], [0, 100, 200], [], 110, known_largest=150)
    assert known.quantile(1.0) == 150
    assert known.quantile(0.5) == pytest.approx(55)
    assert known.quantile(105 / 110) == pytest.approx(125)


def test_the_figures_of_one_value_are_that_value() -> None:
    one = quantile.of_values([7])
    assert {one.least, one.mean, one.quantile(0.5), one.quantile(0.999), one.largest} == {7}
    assert not quantile.enough("median", 2)


def test_there_are_no_figures_of_nothing() -> None:
    assert quantile.of_values([]).mean is None
    with pytest.raises(IndexError):
        quantile.of_values([]).quantile(0.5)


# Cases.


@pytest.mark.parametrize(
    ("case", "suffix", "text"),
    [
        (Case(0), "_order0", "order 0"),
        (Case(4, (("gfp", "atomic"),)), "_order4_gfp_atomic", "order 4, gfp atomic"),
        (
            Case(9, (("depth", "16"), ("gfp", "user-comp"))),
            "_order9_depth_16_gfp_user-comp",
            "order 9, depth 16, gfp user-comp",
        ),
    ],
)
def test_a_case_is_part_of_a_name_and_read_back(case: Case, suffix: str, text: str) -> None:
    assert (case.suffix(), str(case)) == (suffix, text)
    assert split_key(key("kernel_page_allocs", case)) == ("kernel_page_allocs", case)


@pytest.mark.parametrize(
    "chosen", [(("gfp", "a_b"),), (("gfp", "A"),), (("g1", "a"),), (("b", "1"), ("a", "1"))]
)
def test_a_case_that_could_not_be_read_back_cannot_be(chosen: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ValueError, match=r"cannot be read back|in order"):
        Case(0, chosen)


def test_cases_of_one_order_are_told_apart(tmp_path: Path) -> None:
    made = recorded.documents(recorded.BASE)[0]
    made[key("idle_available_bytes", Case(0, (("gfp", "atomic"),)))] = [1 << 30, 2 << 30, 3 << 30]
    path = tmp_path / "result.json"
    path.write_text(json.dumps(made))
    assert "order 0, gfp atomic (" in printed("show", path)
    assert ",bytes,higher,gfp=atomic," in printed("export", "--format", "csv", path)
    assert 'gfp="atomic"' in printed("export", "--format", "openmetrics", path)


# Units.


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (999.9, "ns", "1.00 us"),
        (74_612, "ns", "74.6 us"),
        (3 << 29, "bytes", "1.50 GiB"),
        (12, "bytes", "12 B"),
        (198_000, "blocks/s", "198 k/s"),
        (7, "blocks/s", "7/s"),
        (1_234_567, "blocks", "1.23 M"),
        (4, "ppm", "4 ppm"),
    ],
)
def test_a_value_has_the_unit_that_suits_it(value: float, unit: str, text: str) -> None:
    assert amounts.scaled(value, units.of(unit), units.three, " ") == text

# SPDX-License-Identifier: GPL-2.0-only
"""Metrics are declared, and named nowhere else; a figure is the same whoever tells it."""

from __future__ import annotations

import ast
import functools
import io
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import otava_reader
import page_alloc_bench
import recorded
from page_alloc_bench.analysis import amounts, per_run, query, results, show, tidy
from page_alloc_bench.analysis.export import to_kcidb, to_otava
from page_alloc_bench.analysis.report import latency
from page_alloc_bench.analysis.store import keep, place, read
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import metrics, quantile, summary, units
from page_alloc_bench.runner.result.case import Case, key, split_key
from page_alloc_bench.runner.result.figures import of as figures_of
from page_alloc_bench.runner.telling.ktap import Ktap
from page_alloc_bench.runner.workloads import available_memory

PACKAGE = Path(page_alloc_bench.__file__).parent
FILES = sorted((Path(__file__).parents[1] / "data/results").rglob("*.json.gz"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def printed(*arguments: object, code: int = 0) -> str:
    done = call(*arguments)
    assert done.exit_code == code, done.output
    return done.output


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
def test_every_output_tells_the_same_percentiles(path: Path, tmp_path: Path) -> None:
    """To the last digit that it shows, of every operation of every recorded run."""
    run = result(path)
    compared = per_run.statistics(run)
    shown = "\n".join(line.text for line in show.overview(run, show.MOST_WIDTH))
    told_by_ktap = ktap_of(run)
    [exported] = tidy.runs([run], pytest.fail)
    check_exports(exported, tmp_path)
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


# The figures of a latency as the columns of a query have them; KCIDB's paths too.
COLUMNS = {"median": "median", "p99": "p99", "p99.9": "p99_9", "max": "max"}


def check_exports(run: tidy.Run, directory: Path) -> None:
    """Assert of each export that has percentiles, of a query and of a store what show tells."""
    by_kcidb, by_otava = kcidb_of(run), otava_of(run)
    store = place.make_store(directory / "store")
    list(keep.add(store, [run]))
    [stored] = read.load(store, [], pytest.fail)
    with query.connect([run]) as of_file, read.connect(store, pytest.fail) as of_store:
        for figure, value in per_run.statistics(run.result).items():
            if metrics.declared(figure.metric).kind is not metrics.Kind.SAMPLE:
                continue
            told = show.metric_json(run.result, run.result.metrics[figure.metric, figure.case])
            wanted = told[figure.statistic]
            assert by_otava[f"{figure.key}:{figure.statistic}"] == wanted
            assert per_run.statistics(stored)[figure] == wanted
            column = COLUMNS[figure.statistic]
            where = f"page_alloc_bench.order_{figure.order}.{figure.metric}.{column}"
            known = not isinstance(value, per_run.Below)  # else it is a bound and no number
            assert by_kcidb.get(where) == (wanted / 1e9 if known else None)
            sql = f"SELECT {column} FROM metrics WHERE metric = ? AND alloc_order = ?"
            for database in (of_file, of_store):
                found = database.execute(sql, [figure.metric, figure.order]).fetchall()
                assert found == [(wanted if known else None,)]


def kcidb_of(run: tidy.Run) -> dict[str, float]:
    """Return the number of each figure by its path, as the JSON has it."""
    stream = io.StringIO()
    to_kcidb.export([run], stream)
    tests = json.loads(stream.getvalue())["tests"]
    return {test["path"]: test["number"]["value"] for test in tests if "number" in test}


def otava_of(run: tidy.Run) -> dict[str, float]:
    """Return the figures of the one row by their columns, as Otava reads them."""
    stream = io.StringIO()
    to_otava.export([run], stream, pytest.fail)
    names = [name for name in otava_reader.headers(stream.getvalue()) if ":" in name]
    series = otava_reader.read(stream.getvalue(), [], names)
    return {name: values[0] for name, values in series.data.items()}


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

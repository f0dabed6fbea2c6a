# SPDX-License-Identifier: GPL-2.0-only
"""A pattern, a workload and their options are declared in a file each, and found everywhere.

What is made up here: a pattern with a parameter, and a workload with an option, a metric and a
phase. Three files, put where such files are; nothing else is changed.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
from click.testing import CliRunner

import falba_reader
import recorded
import told_everywhere
from fake_device import FakeDevice
from manual import pages, tables
from page_alloc_bench.cli import main
from page_alloc_bench.runner import options, pattern, patterns, registry, workload, workloads
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.measuring import estimate
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.preflight import loading, verdict
from page_alloc_bench.runner.preflight.host import Host
from page_alloc_bench.runner.result import declared, document, metrics, summary
from page_alloc_bench.runner.telling import workloads as listing
from page_alloc_bench.runner.telling.ktap import Ktap

PATTERN = """
from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.pattern import Pattern

PATTERN = Pattern(
    name="towers",
    title="towers of blocks",
    options=(
        Option("tower_height", Integer(1, 1 << 25), 16, "blocks of a tower", metavar="BLOCKS",
               unit="blocks", kind="invalidating"),
    ),
    parameters=lambda options: {"height": options.tower_height},
    blocks=lambda parameters: parameters["height"],
)
"""

WORKLOAD = """
from page_alloc_bench.runner.command_line.option import Integer, Option
from page_alloc_bench.runner.measuring.bench import PlannedPhase
from page_alloc_bench.runner.workload import Workload

def plan(options):
    names = ("building", "quake")
    return [PlannedPhase(name, order) for order in options.alloc_orders for name in names]

def run(bench):
    for phase, order in plan(bench.options):
        with bench.phase(phase, order):
            if phase == "quake":
                continue
            bench.device.configure(
                pattern="towers", parameters={"height": bench.options.tower_height},
                cpus=bench.cpus, order=order, seed=1, time_one_in=0, sample_capacity=0,
            )
            bench.device.start()
            bench.device.stop()
            bench.document.put("towers_built", order, [40 + order])
        bench.case_ended()

WORKLOAD = Workload(
    name="building",
    title="building",
    isolates="how many towers stand",
    options=(
        Option("storeys", Integer(1, 99), 3, "storeys of each tower", metavar="N", kind="other"),
    ),
    patterns=("towers",),
    plan=plan,
    run=run,
    seconds={"building": 2.5},
    fills={"quake": ("storeys", 2.0)},
    checks=frozenset({"antagonist-size"}),
)
"""

METRIC = """
from page_alloc_bench.runner.result.metrics import Kind, Metric, Phase, Rank, Subtest

PHASES = (Phase("building", (Subtest("built"),), measured=True), Phase("quake", ()))
METRICS = (
    Metric(
        "towers_built", "towers", "higher", "Towers that stood at the end.", Kind.AMOUNT,
        "towers built", "towers", family="towers", rank=Rank.PRIMARY, in_table=True,
        section="towers", phase="building", subtest="built",
    ),
)
"""


BUILT = ("towers_built", "order 4")
TABLES = {"options", "workloads", "subtests", "metrics"}


def forget() -> None:
    registry.forget()
    metrics.forget()


@pytest.fixture(autouse=True)
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three more files of declarations."""
    for package, name, text in (
        (patterns, "towers", PATTERN),
        (workloads, "building", WORKLOAD),
        (declared, "building", METRIC),
    ):
        directory = tmp_path / package.__name__
        directory.mkdir()
        (directory / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(directory)])
    forget()
    yield
    monkeypatch.undo()
    forget()


class Reporter:
    """Says nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_named: None


class Signals:
    """Nobody wants to stop."""

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        yield


def run(*words: str, told: list[str] | None = None, like: int = 0) -> document.Document:
    """The document of a run of the made-up workload on a machine that was recorded.

    like: which of the recorded runs has the facts of the host.
    """
    asked = options.parse(["--workload", "building", *words])
    facts = recorded.documents(recorded.BASE)[like]["run"]
    for name in ("phases", "iterations", "warnings", "ended", "complete"):
        facts.pop(name, None)
    facts["boot_id"] = str(uuid.UUID(int=like))
    made = document.Document({**facts, "parameters": parameters.of_run(asked)})
    device: Any = FakeDevice({0: 0, 1: 0})
    ktap = Ktap((told if told is not None else []).append, asked.alloc_orders, workload.plan(asked))
    ktap.loaded(made)
    bench = Bench(
        options=asked, cpus=[0, 1], device=device, document=made, reporter=Reporter(),
        signals=Signals(), on_phase_end=ktap.phase_ended,
    )  # fmt: skip
    for each in workload.chosen(asked):
        each.run(bench)
    made.end(complete=True, reason=None, exit_code=0)
    ktap.end(None, unloaded=True, written=None)
    return made


def schema() -> dict[str, Any]:
    """The schema that scripts/schema would write."""
    path = Path(document.__file__).with_name("schema.json")
    made: dict[str, Any] = json.loads(parameters.schema_text(metrics.schema_text(path.read_text())))
    return made


def test_each_workload_has_its_phases_declared_in_the_file_of_its_name() -> None:
    found = registry.declared(workloads.__name__, "WORKLOAD")
    asked = options.parse(["--workload", "available-memory,building,bursts,pairs"])
    for module in ("available_memory", "building", "bursts", "pairs"):
        phases = importlib.import_module(f"{declared.__name__}.{module}").PHASES
        assert {phase for phase, _ in found[module].plan(asked)} <= {p.name for p in phases}


def test_the_help_has_its_options(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--help"])
    told = " ".join(capfd.readouterr().out.split())
    assert "building: how many towers stand; " in told
    assert "towers of blocks: --tower-height BLOCKS blocks of a tower (default: 16)" in told
    assert "building: --storeys N storeys of each tower (default: 3)" in told


def test_the_list_of_workloads_has_it() -> None:
    told = " ".join(listing.listed().split())
    assert "building isolates how many towers stand needs nothing" in told
    assert "options --tower-height --storeys" in told


def test_the_tables_of_the_manual_have_them() -> None:
    made = {part.name: part.make() for part in tables.GENERATED if part.name in TABLES}
    assert set(made) == TABLES
    for line in (
        "**Building**",
        "| `--tower-height BLOCKS` | blocks of a tower (default: 16) |",
        "| `--storeys N` | storeys of each tower (default: 3) |",
    ):
        assert line in made["options"].splitlines()
    assert "| `building` | how many towers stand |" in made["workloads"].splitlines()
    assert "| `building` | `built` |  |" in made["subtests"].splitlines()
    assert "| `towers_built` | towers | higher | Towers that stood at the end. |" in made["metrics"]


def test_the_page_for_man_has_its_options() -> None:
    page = pages.markdown("bench.run.1")
    assert "\n## Building\n" in page
    assert "\n`--tower-height BLOCKS`\n: blocks of a tower (default: 16)\n" in page
    assert "\n`--storeys N`\n: storeys of each tower (default: 3)\n" in page
    assert ".SS Building\n" in pages.roff("bench.run.1")


def test_its_options_are_for_it_alone(capfd: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--tower-height", "3"], "--tower-height is for --workload building only"),
        (["--workload", "building", "--held", "3"], "--held is for --workload available-memory"),
        (["--workload", "bilding"], "no workload is called bilding. Did you mean building?"),
        (["--workload", "building", "--storeys", "100"], "a whole number from 1 to 99"),
    ):
        with pytest.raises(SystemExit) as ended:
            options.parse(words)
        assert ended.value.code == 2
        assert message in capfd.readouterr().err


def test_its_options_are_parameters_of_its_result_and_of_no_other() -> None:
    asked = options.parse(["--workload=building", "--storeys=5"])
    recorded_of_it = parameters.of_run(asked)
    assert recorded_of_it["tower_height"] == 16
    assert recorded_of_it["storeys"] == 5
    assert recorded_of_it["workload"] == ["building"]
    assert "held" not in recorded_of_it
    of_the_default = parameters.of_run(options.parse([]))
    assert not {"tower_height", "storeys", "workload"} & set(of_the_default)


def test_its_pattern_is_known_with_what_it_holds() -> None:
    towers = pattern.every()["towers"]
    asked = options.parse(["--workload=building", "--tower-height=9"])
    assert towers.parameters(asked) == {"height": 9}
    assert towers.blocks({"height": 9}) == 9


def test_the_preflight_reckons_with_its_blocks_and_looks_at_what_matters_to_it() -> None:
    asked = options.parse(["--workload=building", f"--tower-height={1 << 25}"])
    (check,) = [each for each in verdict.checks_for(asked) if each not in loading.CHECKS]
    assert check.name == "antagonist-size"
    (finding,) = verdict.look(Host(asked), [check])
    assert "the antagonist would hold up to" in finding.found


def test_how_long_it_takes_is_known() -> None:
    asked = options.parse(["--workload=building", "--storeys=4"])
    seen = {"bytes_per_second": 1 << 30, "first_bytes_per_second": 1 << 30}
    record = {"probe": seen, "fill_bytes": 1 << 30, "cold": False}
    found = {(step.phase, step.order): step for step in estimate.steps(asked, record)}
    assert list(found) == [("building", 0), ("quake", 0), ("building", 4), ("quake", 4)]
    assert [step.fills for step in found.values()] == [0, 4, 0, 4]
    assert found["building", 4].all_s == 2.5
    assert 8 <= found["quake", 4].all_s < 12  # four fills, each twice as long as one alone
    hasty = options.parse(["--workload=building", "--timeout-s=5"])
    assert estimate.lost(hasty, record) == ["order 0, quake", "order 4, quake"]
    told = " ".join(listing.listed().partition("building\n")[2].split())
    assert "takes 6 fills of the memory" in told


def test_its_result_is_what_the_schema_says() -> None:
    made = json.loads("".join(run().chunks()))
    assert made["towers_built_order4"] == [44]
    # What it was recorded from is of an older version, without some facts of the host.
    checked = schema()
    about = checked["properties"]["run"]["properties"]
    jsonschema.Draft202012Validator(about["parameters"]).validate(made["run"]["parameters"])
    phases = {**about["phases"], "$defs": checked["$defs"]}
    jsonschema.Draft202012Validator(phases).validate(made["run"]["phases"])
    shipped = document.schema()["properties"]["run"]["properties"]["parameters"]["properties"]
    assert set(about["parameters"]["properties"]) - set(shipped) == {"tower_height", "storeys"}
    assert about["parameters"]["properties"]["storeys"]["comparison"] == "other"


def test_ktap_tells_its_phases_and_no_others() -> None:
    told: list[str] = []
    run(told=told)
    text = "".join(told)
    assert text.count("  ok 1 built\n") == 2
    assert "  # towers_built_order4: 44\n" in text
    assert "antagonized" not in text
    assert "ok 2 order_0\n" in text
    assert "ok 3 order_4\n" in text


def write(directory: Path, first: int, *words: str) -> Path:
    directory.mkdir()
    for number in range(2):
        made = run(*words, like=first + number)
        (directory / f"{number}.json").write_text("".join(made.chunks()))
    return directory


def printed(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert not done.exception or isinstance(done.exception, SystemExit), done.output
    return done.output


def test_summary_show_compare_report_and_exports_have_it(tmp_path: Path) -> None:
    assert "towers built" in summary.render(run())
    low = write(tmp_path / "low", 0)
    high = write(tmp_path / "high", 2, "--tower-height=32")
    assert "towers built" in printed("show", low / "0.json")
    compared = printed("compare", low, "--vs", high)
    assert "parameters.tower_height" in compared
    assert "16" in compared
    assert "32" in compared
    page = tmp_path / "report.html"
    told = printed("report", low, "--vs", high, "-o", page)
    assert page.exists(), told
    assert "towers built" in page.read_text()
    assert "tower_height" in page.read_text()
    csv = printed("export", "--format=csv", "--fact=parameters.tower_height", high / "0.json")
    assert "towers_built,4,1,44,towers,higher" in csv
    assert "tower_height" in csv.splitlines()[0]
    assert csv.splitlines()[1].endswith(",32")
    told = printed("export", "--format=openmetrics", low / "0.json")
    assert "page_alloc_bench_towers_built" in told


def test_every_export_a_query_and_a_store_have_its_value(tmp_path: Path) -> None:
    [one, _] = sorted(write(tmp_path / "runs", 0).iterdir())
    told = told_everywhere.values("towers_built", 4, one, tmp_path)
    assert told == {name: [44] for name in (*told_everywhere.FORMATS, "query", "store")}


def test_every_output_that_has_parameters_has_its_options(tmp_path: Path) -> None:
    [one, _] = sorted(write(tmp_path / "runs", 0, "--tower-height=32").iterdir())
    assert "parameters.tower_height" in printed("show", "--facts", one)
    [test, *_] = json.loads(printed("export", "--format=kcidb", one))["tests"]
    assert (test["misc"]["parameters"]["tower_height"], test["path"]) == (32, "page_alloc_bench")
    printed("export", "--format=falba", "-o", tmp_path / "falba", one)
    [of_falba] = falba_reader.read(tmp_path / "falba")
    assert of_falba.facts["parameters_tower_height"] == 32
    rows = tmp_path / "rows.parquet"
    printed("export", "--fact=parameters.tower_height", "-o", rows, one)
    found = duckdb.execute(
        "SELECT DISTINCT parameters_tower_height FROM read_parquet(?)", [str(rows)]
    )
    assert found.fetchall() == [(32,)]
    printed("store", "add", tmp_path / "store", one)
    for where in ([one], ["--store", tmp_path / "store"]):
        sql = "SELECT value FROM facts WHERE name = 'parameters.tower_height'"
        assert json.loads(printed("query", "--format=json", sql, *where)) == [{"value": "32"}]


def test_a_trend_has_it_and_keeps_its_options_apart(tmp_path: Path) -> None:
    for number, kernel, height in itertools.product(range(4), range(2), (16, 32)):
        made = json.loads("".join(run(f"--tower-height={height}").chunks()))
        name = f"{kernel}-{height}-{number}"
        made["run"]["kernel"].update(release=f"6.{kernel}.0", version=f"#1 SMP {kernel}")
        made["run"].update(boot_id=name, started_at=f"2026-01-0{kernel + 1}T0{number}:00:00Z")
        made["towers_built_order4"] = [400 + number + height]
        (tmp_path / f"{name}.json").write_text(json.dumps(made))
    told = json.loads(printed("trend", "--format=json", tmp_path))["series"]
    series = [each for each in told if (each["metric"], each["case"]) == BUILT]
    machines = [each["machine"] for each in series]
    assert len(machines) == 2
    assert sum("parameters.tower_height 32" in machine for machine in machines) == 1
    page = tmp_path / "trend.html"
    printed("trend", "-o", page, tmp_path)
    assert "towers built" in page.read_text()

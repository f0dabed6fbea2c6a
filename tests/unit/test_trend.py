# SPDX-License-Identifier: GPL-2.0-only
"""A trend names the kernel that changed a figure, and no other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ruptures
from click.testing import CliRunner, Result
from scipy import stats

import recorded
from made_up_series import KERNELS, RUNS, less_memory, written
from page_alloc_bench.analysis import results
from page_alloc_bench.analysis.trend import changes, series
from page_alloc_bench.cli import main

MEMORY = "idle_available_bytes"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["trend", *map(str, arguments)])


def told(*arguments: object) -> dict[str, Any]:
    done = call(*arguments, "--format=json")
    assert done.exit_code in (0, 1), done.output
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["newest_is_worse"] is (done.exit_code == 1)
    return document


def changed(document: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    return {
        (s["metric"], s["case"]): [change["kernel"] for change in s["changes"]]
        for s in document["series"]
        if s["changes"]
    }


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("steady"))


def test_where_nothing_changes_nothing_is_named(steady: Path) -> None:
    document = told(steady)
    assert len(document["series"]) > 10
    assert changed(document) == {}
    assert {len(s["points"]) for s in document["series"]} == {len(KERNELS)}


def test_the_kernel_that_takes_memory_is_named(tmp_path: Path) -> None:
    document = told(written(tmp_path, less_memory(8)))
    found = changed(document)
    assert found[MEMORY, "order 0"] == [KERNELS[8]] == found[MEMORY, "order 4"]
    assert all(kernels == [KERNELS[8]] for kernels in found.values()), found
    [change] = next(s for s in document["series"] if s["metric"] == MEMORY)["changes"]
    assert change["low"] <= -10 <= change["high"] < -9
    assert (change["worse"], change["other_causes"]) == (True, [])
    assert document["newest_is_worse"] is True


def test_what_was_mended_is_no_regression_any_more(tmp_path: Path) -> None:
    document = told(written(tmp_path, less_memory(4, 8)))
    assert changed(document)[MEMORY, "order 0"] == [KERNELS[4], KERNELS[8]]
    assert document["newest_is_worse"] is False


def test_another_compiler_or_configuration_is_named_as_a_cause(tmp_path: Path) -> None:
    def change(document: recorded.Document, kernel: int, boot: int) -> recorded.Document | None:
        for module in document["run"]["bundle"]["modules"]:
            module["release"] = KERNELS[kernel]
            module["compiler"] = "gcc 13" if kernel >= 8 else "gcc 12"
        if kernel >= 8:
            document["run"]["kernel"]["config"]["sha256"] = "0" * 64
        return less_memory(8)(document, kernel, boot)

    document = told(written(tmp_path, change))
    [found] = next(s for s in document["series"] if s["metric"] == MEMORY)["changes"]
    assert found["other_causes"][:2] == ["compiler", "configuration"]


def test_machines_and_parameters_are_series_of_their_own(tmp_path: Path) -> None:
    def change(document: recorded.Document, kernel: int, boot: int) -> None:
        document["run"]["host_id"] = f"{boot % 2}" * 32
        if boot > 1:
            document["run"]["parameters"]["held"] = 77

    document = told(written(tmp_path, change))
    machines = {s["machine"] for s in document["series"]}
    assert len(machines) == 4
    assert sum("parameters.held 77" in machine for machine in machines) == 2


def test_runs_that_are_not_complete_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    def change(document: recorded.Document, kernel: int, boot: int) -> None:
        document["run"]["complete"] = boot > 0

    done = call(written(tmp_path, change))
    assert (done.exit_code, "12 runs are not complete: left out" in done.stderr) == (0, True)


def test_commits_have_the_order_of_their_history(tmp_path: Path) -> None:
    tree, commits = tmp_path / "tree", []
    git = ["git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "init", "-q", tree], check=True)
    for number in range(len(KERNELS)):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", str(number)], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True)
        commits.append(head.stdout.decode().strip()[:12])

    def change(document: recorded.Document, kernel: int, boot: int) -> recorded.Document | None:
        document["run"]["labels"] = {"commit": commits[-1 - kernel]}  # measured from the newest on
        return less_memory(0, 4)(document, kernel, boot)

    measured = written(tmp_path / "results", change)
    by_time, by_history = told(measured), told(measured, "--tree", tree)
    assert changed(by_time)[MEMORY, "order 0"] == [commits[7]]
    assert changed(by_history)[MEMORY, "order 0"] == [commits[8]]
    assert (by_time["newest_is_worse"], by_history["newest_is_worse"]) == (False, True)
    strange = call(measured, "--tree", tree, "--by", "kernel.release")
    assert (strange.exit_code, "git knows not all" in strange.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give either results or --store"),
        (("--by", "no.such", "FILES"), "has no fact no.such"),
        (("/nowhere",), "no such file"),
        (("",), "'': is not the name of a file"),
        (("--store", ""), "it is empty"),
        (("--metric", "idle_availble_bytes", "FILES"), "Did you mean idle_available_bytes?"),
        (("--metric", "idle_available_bytes:p9", "FILES"), "There are: median"),
        (("--metric", "idle_*", "--metric", "", "FILES"), "figure that matches '' (--metric)"),
    ],
)
def test_what_cannot_be_answered_is_3_and_says_why(
    arguments: tuple[str, ...], says: str, steady: Path
) -> None:
    done = call(*(steady if word == "FILES" else word for word in arguments))
    assert (done.exit_code, says in done.stderr) == (3, True), done.output


def test_of_one_kernel_it_cannot_tell(tmp_path: Path) -> None:
    for number, document in enumerate(RUNS[:3]):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    done = call(tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no figure was measured on two kernels" in done.stderr


def test_a_store_says_the_same(steady: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    added = CliRunner().invoke(main, ["store", "add", str(store), str(steady)])
    assert added.exit_code == 0, added.output
    assert told("--store", store) == told(steady)


def test_the_page_needs_nothing_and_shows_each_series(tmp_path: Path) -> None:
    measured, page = written(tmp_path / "results", less_memory(8)), tmp_path / "trend.html"
    assert call(measured, "-o", page).exit_code == 1
    html = page.read_text()
    assert "<script" not in html
    assert "default-src 'none'" in html
    assert html.count("<figure>") == len(told(measured)["series"])
    assert html.index("6.9.0 is worse" if "6.9.0 is" in html else "6.12.0 is worse") > 0
    text = call(measured).stdout
    assert f"| {KERNELS[8]} | host unknown |" in text


# The search for changes


def points(values: np.ndarray, boots: int, sd: float, rng: np.random.Generator) -> series.Series:  # type: ignore[type-arg]
    statistic: Any = SimpleNamespace(better="higher")
    run = results.load(sorted(recorded.BASE.iterdir())[0])
    made = [
        series.Point(str(at), np.exp(value + rng.normal(0, sd, boots)), run)
        for at, value in enumerate(values)
    ]
    return series.Series("here", statistic, made)


def optimal(values: list[float], penalty: float) -> list[int]:
    """Segment by the least squares by hand: the best of all ways, by dynamic programming."""
    n, best, last = len(values), [-penalty], [0]
    for end in range(1, n + 1):
        costs = []
        for begin in range(end):
            part = np.array(values[begin:end])
            costs.append(best[begin] + float(((part - part.mean()) ** 2).sum()) + penalty)
        last.append(int(np.argmin(costs)))
        best.append(min(costs))
    places = [n]
    while places[-1]:
        places.append(last[places[-1]])
    return places[::-1]


@pytest.mark.parametrize("seed", range(5))
def test_candidates_are_those_of_the_best_segmentation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = np.repeat([0.0, 0.05, 0.02, -0.04], 10)
    made = points(steps, 5, 0.01, rng)
    values = [point.value for point in made.points]
    penalty = 3 * np.log(40) * changes.noise(made.points)
    assert changes.candidates(made) == optimal(values, penalty)
    assert ruptures.__version__


def test_what_is_told_of_a_change_is_of_the_sides_that_were_tested() -> None:
    """Two steps in turn, of which the first is too small for its boots: it stays out of both."""
    rng = np.random.default_rng(5)
    steps = np.repeat([0.0, 0.03, -0.1], [12, 2, 12])
    made = points(steps, 5, 0.01, rng)
    assert changes.candidates(made) == [0, 12, 14, 26]
    [found] = changes.trends([made])
    for change in found.changes:
        before = [12, 14] if change.at == 14 else [0, 12]
        boots = np.concatenate([p.boots for p in made.points[slice(*before)]])
        assert change.before == pytest.approx(float(np.median(boots)), rel=0.002)
        assert change.low is not None
        assert change.high is not None
        assert change.low <= change.percent <= change.high


def test_of_two_segments_the_kernels_are_held_to_the_usual_t_test() -> None:
    rng = np.random.default_rng(2)
    kernels = rng.normal(0, 0.01, 12) - 0.06 * (np.arange(12) >= 5)
    made = points(kernels, 50, 0.001, rng)
    [change] = changes.trends([made])[0].changes
    values = [point.value for point in made.points]
    assert change.at == 5
    assert change.p == pytest.approx(float(stats.ttest_ind(values[:5], values[5:]).pvalue))


@pytest.mark.parametrize("at", range(2, 12))
def test_a_plain_change_is_found_wherever_it_is_among_few_kernels(at: int) -> None:
    """Also where so few kernels a side could confirm nothing by their order alone."""
    rng = np.random.default_rng(at)
    step = np.where(np.arange(12) >= at, -0.1, 0.0)
    every = [points(step, 4, 0.01, rng), *(points(0 * step, 4, 0.01, rng) for _ in range(15))]
    found = [[change.at for change in trend.changes] for trend in changes.trends(every)]
    assert found == [[at], *([] for _ in range(15))]


@pytest.mark.parametrize("apart", [0.0, 0.01, 0.02])
def test_among_few_kernels_hardly_any_false_change_is_named(apart: float) -> None:
    """Of 16 series without a change together, 5 % may name one, however kernels differ.

    apart: how much kernels differ for where their code lies; boots do by 0.01.
    """
    rng = np.random.default_rng(17)
    false = 0
    for _ in range(40):
        every = [points(rng.normal(0, apart, 12), 4, 0.01, rng) for _ in range(16)]
        false += any(trend.changes for trend in changes.trends(every))
    assert false <= 4  # P(> 4 of 40 at 5 %) = 0.05


def test_kernels_that_differ_as_much_as_boots_are_not_changes() -> None:
    rng = np.random.default_rng(11)
    false = sum(
        bool(changes.trends([points(rng.normal(0, 0.01, 40), 5, 0.01, rng)])[0].changes)
        for _ in range(60)
    )
    assert false <= 5  # 2 % are expected, 5 % allowed: P(> 5 of 60 at 5 %) = 0.08


def test_a_step_of_two_sd_is_found_and_hardly_any_false_one() -> None:
    rng = np.random.default_rng(3)
    found = false = 0
    for _ in range(40):
        step = np.where(np.arange(40) >= 20, -0.02, 0.0)
        [with_step] = changes.trends([points(step, 5, 0.01, rng)])
        [without] = changes.trends([points(0 * step, 5, 0.01, rng)])
        near = [change for change in with_step.changes if abs(change.at - 20) <= 1]
        found += len(near) == 1
        false += len(with_step.changes) > len(near) or bool(without.changes)
    assert found >= 38
    assert false <= 2

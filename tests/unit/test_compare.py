# SPDX-License-Identifier: GPL-2.0-only
"""What compare tests, and what it concludes."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recorded
from comparing import DOCUMENTS, compared, copy, fails, run
from page_alloc_bench.analysis import compare as engine
from page_alloc_bench.analysis import format_json, results, thresholds
from page_alloc_bench.analysis.compare import Comparison
from page_alloc_bench.analysis.verdict import interval, states
from page_alloc_bench.analysis.verdict.interval import Sample

# What is tested


def with_reachable(document: recorded.Document) -> None:
    """Add what could be reached, as newer versions record it, of the same kernel's reports."""
    for phase in ("idle", "antagonized"):
        for order in (0, 4):
            got = document[f"{phase}_available_bytes_order{order}"]
            lists = [
                entry["oom_free_pcp_bytes"]
                for entry in document["run"]["iterations"]
                if (entry["phase"], entry["order"]) == (phase, order)
            ]
            document[f"{phase}_reachable_bytes_order{order}"] = [
                size + free for size, free in zip(got, lists, strict=True)
            ]


def test_reachable_memory_is_tested_and_available_memory_shown(side: Any) -> None:
    rows = compared(side(0, 8, with_reachable), side(8, 16, with_reachable)).rows
    verdicts = {(row.metric, row.order): row.verdict for row in rows}
    for phase in ("idle", "antagonized"):
        for order in (0, 4):
            assert verdicts[f"{phase}_available_bytes", order] == "not tested"
            assert verdicts[f"{phase}_reachable_bytes", order] != "not tested"


def test_available_memory_stands_in_where_a_side_has_no_other(side: Any) -> None:
    comparison = compared(side(0, 8), side(8, 16, with_reachable))
    verdicts = {(row.metric, row.order): row.verdict for row in comparison.rows}
    assert verdicts["idle_available_bytes", 0] != "not tested"
    assert any("only one side has idle reachable memory" in text for text in comparison.warnings)


def test_reachable_memory_does_not_depend_on_the_order_and_varies_less() -> None:
    """Of 36 recorded boots: the first order's antagonist was there before the second's idle."""
    for documents in (recorded.documents(recorded.BASE), recorded.documents(recorded.NEW)):
        figures: dict[str, list[float]] = {}
        for document in documents:
            made = copy(document, with_reachable)
            for name in ("available", "reachable"):
                for order in (0, 4):
                    values = made[f"idle_{name}_bytes_order{order}"]
                    figures.setdefault(f"{name}{order}", []).append(statistics.median(values))
        mean = {name: statistics.mean(values) for name, values in figures.items()}
        spread = {name: statistics.stdev(v) / mean[name] for name, v in figures.items()}
        assert mean["available0"] / mean["available4"] > 1.02
        assert mean["reachable0"] / mean["reachable4"] == pytest.approx(1, abs=0.005)
        for order in (0, 4):
            assert spread[f"reachable{order}"] < spread[f"available{order}"] / 6


# What is concluded


@pytest.mark.parametrize("runs", [1, 3, 5])
def test_too_few_boots_for_a_verdict_say_how_many_are_needed(runs: int, side: Any) -> None:
    worse = lambda d: d.update(recorded.plant_memory(d, 0.5))  # noqa: E731
    comparison = compared(side(0, runs), side(12, 12 + runs, worse))
    assert {row.verdict for row in comparison.deciding} == {"too few boots"}
    assert comparison.exit_code == engine.CANNOT_TELL
    assert comparison.least_boots == 6
    assert f"{comparison.tests} figures need 6 a side" in comparison.sentence
    assert compared(*map(Path, (comparison.base[0].parent, comparison.new[0].parent)),
                    not_shown_worse=True).exit_code == engine.CANNOT_TELL  # fmt: skip


@pytest.mark.parametrize(("boots", "code"), [(1, 2), (2, 2), (10, 1)])
def test_ten_runs_are_as_many_observations_as_boots(boots: int, code: int, side: Any) -> None:
    def of_few(document: recorded.Document) -> None:
        name, place = document["run"]["boot_id"].split("-")
        document["run"]["boot_id"] = f"{name}-{int(place) % boots}"

    def worse(document: recorded.Document) -> None:
        of_few(document)
        document.update(recorded.plant_memory(document, 0.5))

    comparison = compared(side(0, 10, of_few), side(12, 22, worse))
    assert (comparison.base_boots, comparison.new_boots) == (boots, boots)
    assert comparison.exit_code == code
    assert ("of 10 and 10 runs, are too few" in comparison.sentence) == (boots < 10)
    assert {len(row.base.values) for row in comparison.deciding} == {boots}
    first = next(row for row in comparison.rows if row.metric == "idle_available_bytes")
    medians = [statistics.median(d["idle_available_bytes_order0"]) for d in DOCUMENTS[:10]]
    assert first.base.values[0] == pytest.approx(statistics.mean(medians[::boots]))


def test_a_metric_that_too_few_boots_have_is_named(side: Any) -> None:
    def lack(document: recorded.Document) -> None:
        if document["run"]["seed"] % 12 > 3:
            del document["idle_available_bytes_order0"]

    comparison = compared(side(0, 10), side(12, 22, lack))
    few = [row for row in comparison.rows if row.verdict == "too few boots"]
    assert [(row.metric, row.order) for row in few] == [("idle_available_bytes", 0)]
    assert "10 and 3 boots of idle memory, order 0" in comparison.sentence
    assert "some runs have no idle memory, order 0: the others are compared" in comparison.warnings
    assert comparison.exit_code == engine.CANNOT_TELL


def test_four_runs_are_enough_for_one_test(side: Any) -> None:
    worse = lambda d: d.update(recorded.plant_memory(d, 0.5))  # noqa: E731
    base, new = side(0, 4), side(12, 16, worse)
    only = ["idle_available_bytes_order0"]
    assert compared(base, new, only=only).exit_code == engine.REGRESSION
    assert compared(new, base, only=only).exit_code == engine.NO_REGRESSION
    assert compared(base, new, only=["idle_available_bytes"]).exit_code == engine.CANNOT_TELL


def test_the_direction_that_is_good_comes_from_the_schema(side: Any) -> None:
    def change(document: recorded.Document) -> None:
        document.update(recorded.plant_memory(document, 1.3))
        document.update(recorded.plant_latency(document, 1.5, "alloc"))
        document.update(recorded.plant_latency(document, 0.5, "free"))

    comparison = compared(side(0, 10), side(12, 22, change))
    medians = {row.metric: row for row in comparison.rows
               if row.order == 0 and row.statistic == "median"}  # fmt: skip
    verdicts = {metric: row.verdict for metric, row in medians.items()}
    assert verdicts == {
        "idle_available_bytes": "better",
        "antagonized_available_bytes": "better",
        "kernel_page_alloc_latencies_ns": "worse",
        "kernel_page_free_latencies_ns": "better",
    }
    assert comparison.exit_code == engine.REGRESSION
    assert comparison.sentence.startswith("Regression of 5 % or more: allocation median, order")


def test_a_change_below_the_threshold_is_no_regression(side: Any) -> None:
    worse = lambda d: d.update(recorded.plant_memory(d, 0.9))  # noqa: E731
    base, new = side(0, 12), side(12, 24, worse)
    only = ["antagonized_available_bytes"]
    verdicts = {}
    for limit in ("2%", "10%", "memory=20%"):
        made = compared(base, new, only=only, thresholds=thresholds.parse(limit))
        verdicts[limit] = (made.exit_code, {row.verdict for row in made.rows})
    assert verdicts == {
        "2%": (engine.REGRESSION, {"worse"}),
        "10%": (engine.CANNOT_TELL, {"worse, size unclear"}),
        "memory=20%": (engine.NO_REGRESSION, {"same"}),
    }


def test_no_regression_is_what_the_intervals_exclude(side: Any) -> None:
    base, new = side(0, 10), side(12, 22)
    unsure = compared(base, new)
    assert unsure.exit_code == engine.CANNOT_TELL
    assert "is not excluded for" in unsure.sentence
    assert re.search(r"takes about [0-9]+ \([0-9]+\.\.[0-9>,]+\) boots a side", unsure.sentence)
    old = compared(base, new, not_shown_worse=True)
    assert (old.exit_code, old.sentence) == (engine.NO_REGRESSION, "No regression is shown.")
    sure = compared(base, new, only=["*_available_bytes_order0"], thresholds=thresholds.parse("5%"))
    assert sure.exit_code == engine.NO_REGRESSION
    assert "both" not in sure.sentence
    assert "all 2 figures are shown to be no worse than the threshold (memory 5 %)" in sure.sentence
    assert all((row.change_low or -99) > -5 for row in sure.rows)


def test_a_true_change_of_the_threshold_is_no_coin() -> None:
    """Memory of exactly 98 %: before, it was a regression of 2 % or more in half of the draws."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        base, new = (Sample.of(rng.lognormal(0, 0.005, 12)) for _ in range(2))
        change = interval.shift(base, new, 0.05)
        move = math.log(0.98)
        harm = states.Harm.of(change.low + move, change.high + move, 0.02, "higher")
        found.append(str(states.states(harm)))
    assert found.count("worse") <= 0.05 * len(found)
    assert found.count("same") + found.count("no worse") <= 0.05 * len(found)
    assert found.count("worse, size unclear") >= 0.9 * len(found)


def test_failures_from_none_to_some_are_a_regression(side: Any) -> None:
    """However few; and they decide without having to be asked for."""
    comparison = compared(side(0, 8), side(8, 16, fails(1)))
    row = next(r for r in comparison.rows if r.kind == "failures" and r.order == 0)
    assert (row.verdict, row.decides) == ("worse", True)
    assert comparison.exit_code == engine.REGRESSION
    assert re.search(r"failures, order 0 \+[0-9.]+ppm", comparison.sentence)


def test_one_boot_with_failures_is_chance_and_many_failures_are_not(side: Any) -> None:
    def once(document: recorded.Document) -> None:
        if document["run"]["boot_id"].endswith("-3"):
            fails(1)(document)

    only = ["kernel_alloc_failures_order0"]
    assert compared(side(0, 8), side(8, 16, once), only=only).exit_code == engine.CANNOT_TELL
    more = compared(side(0, 8, fails(1)), side(8, 16, fails(10**6)), only=only)
    assert more.exit_code == engine.REGRESSION
    alike = compared(side(0, 8, fails(1)), side(8, 16, fails(2)), only=only)
    assert alike.exit_code == engine.NO_REGRESSION


@pytest.mark.parametrize(
    ("base", "new"), [(range(8), range(8, 16)), ((*range(11), 12), (11, *range(13, 24)))]
)
def test_one_side_before_the_other_gets_no_verdict(
    base: Sequence[int], new: Sequence[int], tmp_path: Path
) -> None:
    """As they were recorded: parts of one setting that differ by the hour."""
    sides = [
        results.load_all([recorded.write(tmp_path / f"{n}", [DOCUMENTS[i] for i in which])])
        for n, which in enumerate((base, new))
    ]
    for threshold in ("1%", "25%"):
        comparison = engine.compare(*sides, thresholds=thresholds.parse(threshold))
        assert comparison.exit_code == engine.CANNOT_TELL
        assert {row.verdict for row in comparison.tested} == {"unknown"}
        assert "one side was measured before the other" in comparison.sentence
        assert "--accept-order" in comparison.sentence
        rate = engine.compare(*sides, only=["kernel_page_allocs_per_second"])
        assert rate.exit_code == engine.CANNOT_TELL
        accepted = engine.compare(*sides, accept_order=True)
        assert any("before the other" in text for text in accepted.warnings)
        assert "before the other" not in accepted.sentence


def test_a_latency_below_the_clocks_step_takes_part(side: Any) -> None:
    """Frees that became four times slower, by a clock that steps by 1 us."""
    coarse = lambda d: d.update(recorded.read_by_clock(d, 1000))  # noqa: E731

    def slow(document: recorded.Document) -> None:
        document.update(recorded.plant_latency(document, 4, "free"))
        coarse(document)

    only = ["kernel_page_free_latencies_ns:median"]
    base, new = side(0, 10, coarse), side(12, 22, slow)
    comparison = compared(base, new, only=only)
    assert comparison.exit_code == engine.REGRESSION
    row = next(row for row in comparison.rows if row.order == 4)
    assert (row.base.below, row.change_percent, row.change_high) == (True, None, None)
    assert row.change_low is not None
    assert row.change_low > 100  # it was 895 ns, and is read as 3 us
    same = compared(base, side(12, 22, coarse), only=only)
    assert same.exit_code == engine.CANNOT_TELL
    # One boot with a coarse clock does not make the figure vanish.
    one = lambda d: coarse(d) if d["run"]["boot_id"].endswith("-3") else None  # noqa: E731
    assert compared(side(0, 10, one), new, only=only).exit_code == engine.REGRESSION


def test_several_sides_are_each_compared_with_the_first(side: Any, tmp_path: Path) -> None:
    worse = lambda d: d.update(recorded.plant_memory(d, 0.5))  # noqa: E731
    base, alike, bad = side(0, 8), side(8, 16), side(8, 16, worse)
    done = run(base, alike, bad, "--format", "json", "--metric", "idle_available_bytes")
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)
    assert (first["tests"], second["tests"]) == (4, 4)
    assert second["exit_code"] == 1
    p = [row["p"] for made in (first, second) for row in made["rows"]]
    corrected = [row["p_corrected"] for made in (first, second) for row in made["rows"]]
    assert corrected == pytest.approx(interval.holm(p))
    again = run(base, "--vs", alike, "--vs", bad, "--format", "json",
                "--metric", "idle_available_bytes")  # fmt: skip
    assert again.stdout == done.stdout
    text = run(base, "--vs", alike, "--vs", bad)
    assert text.stdout.count("page-alloc-bench compare:") == 2


def test_results_are_chosen_by_their_facts(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        if document["run"]["boot_id"].endswith(("-1", "-2")):
            document["run"]["machine"]["governors"] = ["powersave"]

    base, new = side(0, 8, other), side(8, 16, other)
    assert run(base, "--vs", new).exit_code == 3
    done = run(base, "--vs", new, "--filter", "governor=power*", "--format", "json")
    assert len(json.loads(done.stdout)["base"]) == 2
    wrong = run(base, "--vs", new, "--filter", "governer=x")
    assert (wrong.exit_code, "Did you mean governor?" in wrong.stderr) == (3, True)
    none = run(base, "--vs", new, "--filter", "governor=fast")
    assert (none.exit_code, "leaves no result" in none.stderr) == (3, True)


def test_what_is_to_decide_and_one_side_lacks_is_no_verdict(side: Any) -> None:
    def lack(document: recorded.Document) -> None:
        for name in [name for name in document if "per_second_order0" in name]:
            del document[name]

    worse = lambda d: d.update(recorded.plant_memory(d, 2))  # noqa: E731
    comparison = compared(side(0, 8, lack), side(8, 16, worse), not_shown_worse=True)
    assert comparison.exit_code == engine.CANNOT_TELL
    assert "only one side has allocation rate, order 0" in comparison.sentence
    nothing = compared(side(0, 8), side(8, 16), only=["kernel_page_allocs_per_second:value"])
    assert nothing.tests == 2


def test_geomeans_are_of_the_tested_rows_of_one_family(real: Comparison) -> None:
    for mean in real.geomeans:
        rows = [row for row in real.tested if row.family == mean.family]
        assert mean.rows == len(rows)
        logs = [math.log1p((row.change_percent or 0) / 100) for row in rows]
        # Of each boot the mean, then of the boots: near to the mean of the changes.
        assert math.log1p(mean.change_percent / 100) == pytest.approx(np.mean(logs), abs=0.1)
        assert mean.change_low is not None
        assert mean.change_high is not None
        assert mean.change_low < mean.change_percent < mean.change_high
        assert len({row.unit for row in rows}) == 1
    families = [mean.family for mean in real.geomeans]
    assert families == ["available memory", "rate", "allocation latency", "free latency"]


def test_all_statistics_are_tested_on_request_only(side: Any) -> None:
    base, new = side(0, 8), side(8, 16)
    some, everything = compared(base, new), compared(base, new, everything=True)
    maxima = [row for row in some.rows if row.statistic == "max"]
    assert maxima
    assert {row.verdict for row in maxima} == {"not tested"}
    assert all(row.verdict != "not tested" for row in everything.rows)
    assert len(everything.rows) > len(some.rows) > some.tests
    # What is asked for besides does not make weaker what decides.
    assert everything.tests == some.tests
    assert [r.verdict for r in everything.deciding] == [r.verdict for r in some.deciding]


def test_what_one_side_lacks_is_said(side: Any) -> None:
    def lack(document: recorded.Document) -> None:
        del document["idle_available_bytes_order0"]

    comparison = compared(side(0, 6), side(6, 12, lack))
    assert comparison.exit_code == engine.CANNOT_TELL
    assert "only one side has idle memory, order 0: not compared" in comparison.warnings


def test_the_same_runs_give_the_same_comparison(side: Any) -> None:
    base, new = side(0, 6), side(6, 12)
    assert len({format_json.render(compared(base, new)) for _ in range(2)}) == 1


def test_boots_are_guessed_where_results_do_not_say_them(side: Any) -> None:
    """By the clock and the uptime, which every result has: ten runs of one boot are one."""

    def of_one(document: recorded.Document) -> None:
        minute = int(document["run"].pop("boot_id").split("-")[1])
        document["run"]["started_at"] = f"2026-01-01T00:{2 * minute:02}:00Z"
        document["run"]["machine"]["uptime_s"] = 120.0 * minute + 7.25

    comparison = compared(side(0, 6), side(6, 12, of_one))
    assert (comparison.base_boots, comparison.new_boots) == (6, 1)
    assert comparison.boots_guessed
    said = "; ".join(comparison.warnings)
    assert "the 6 runs of new are of 1 boot(s): runs of one boot count as one" in said
    assert "boots are guessed by the clock and the uptime" in said
    known = compared(side(0, 6), side(6, 12))
    assert not known.boots_guessed
    assert "boot" not in "; ".join(known.warnings)


def test_a_histogram_whose_bounds_do_not_fit_is_named(side: Any) -> None:
    def spoil(document: recorded.Document) -> None:
        document["kernel_page_alloc_latency_histogram_bounds_ns_order4"].pop()

    done = run(side(0, 6), "--vs", side(6, 12, spoil))
    assert done.exit_code == 3
    assert "00.json: the bounds of kernel_page_alloc_latency_histogram_order4" in done.stderr
    assert done.stderr.count("\n") == 1

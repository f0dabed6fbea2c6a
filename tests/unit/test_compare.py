# SPDX-License-Identifier: GPL-2.0-only
"""What compare refuses, what it concludes, and how it says so."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.text import Text

import recorded
from page_alloc_bench.analysis import compare as engine
from page_alloc_bench.analysis import (
    format_csv,
    format_json,
    format_markdown,
    format_short,
    format_table,
    format_text,
    notation,
    results,
    thresholds,
)
from page_alloc_bench.analysis.compare import Comparison
from page_alloc_bench.analysis.verdict import interval, states
from page_alloc_bench.analysis.verdict.interval import Sample
from page_alloc_bench.cli import main

DOCUMENTS = recorded.documents(recorded.BASE)
OTHERS = recorded.documents(recorded.NEW)

Change = Callable[[recorded.Document], Any]


def copy(document: recorded.Document, change: Change | None = None) -> recorded.Document:
    made: recorded.Document = json.loads(json.dumps(document))
    if change:
        change(made)
    return made


@pytest.fixture
def side(tmp_path: Path) -> Callable[..., Path]:
    """Write some of the recorded runs, each changed, into a directory of its own.

    Sides that are written one after the other were measured by turns, a boot a run.
    """

    def write(first: int, last: int, change: Change | None = None) -> Path:
        number = len(list(tmp_path.iterdir()))

        def made(place: int) -> recorded.Document:
            document = copy(DOCUMENTS[first + place])
            minute = 2 * place + number % 2
            document["run"]["started_at"] = f"2026-01-01T00:{minute:02}:00Z"
            document["run"]["boot_id"] = f"{number}-{place}"
            return copy(document, change)

        return recorded.write(tmp_path / f"side{number}", map(made, range(last - first)))

    return write


def compared(base: Path, new: Path, **options: Any) -> Comparison:
    return engine.compare(results.load_all([base]), results.load_all([new]), **options)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def real() -> Comparison:
    base, new = (results.load_all([path]) for path in (recorded.BASE, recorded.NEW))
    return engine.compare(base, new)


# What differs


def test_the_command_line_is_what_is_compared_if_the_kernel_is_the_same(real: Comparison) -> None:
    assert {(d.name, d.kind) for d in real.differences} == {
        ("kernel.cmdline", "meant"),
        ("init_on_alloc", "meant"),
    }


def test_another_kernel_is_what_is_compared(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        document["run"]["kernel"].update(release="6.2.0", version="#2")
        document["run"]["kernel"]["config"]["sha256"] = "0" * 64
        document["run"]["kernel"]["cmdline"] = "BOOT_IMAGE=/vmlinuz-6.2 quiet init_on_alloc=1"

    found = {d.name: d.kind for d in compared(side(0, 6), side(6, 12, other)).differences}
    # The bundle has no module for 6.2.0, so what compiled it is not known.
    assert found.pop("tool.compiler") == "other"
    assert found == {
        "kernel.cmdline": "other",
        "kernel.release": "meant",
        "kernel.version": "meant",
        "kernel.config": "meant",
    }


def run_of(path: str, value: Any) -> Change:
    """Return a change of one fact, by its place under run."""
    *parents, last = path.split("/")

    def change(document: recorded.Document) -> None:
        place = document["run"]
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value

    return change


def available(mib: int) -> Change:
    """Return a change of what was available before each idle iteration: so many MiB of it."""

    def change(document: recorded.Document) -> None:
        for order in (0, 4):
            document[f"idle_memavailable_bytes_order{order}"] = [mib << 20] * 3
        for entry in document["run"].get("iterations", []):
            entry["memory_before"] = {"pcp_bytes": 10 << 20}

    return change


@pytest.mark.parametrize(
    ("base", "new", "refused"),
    [(839, 839, False), (839, 810, False), (839, 530, True), (530, 839, True)],
)
def test_memory_that_others_hold_on_one_side_is_refused(
    base: int, new: int, refused: bool, side: Any
) -> None:
    """By mlock, a balloon or a pool of huge pages, it looks like a regression of the kernel."""
    sides = side(0, 6, available(base)), side(6, 12, available(new))
    if not refused:
        assert compared(*sides).differences == ()
        return
    with pytest.raises(engine.RefusedError, match=r"machine\.memory_available$") as error:
        compared(*sides)
    (found,) = error.value.differences
    assert (found.base, found.new) == ((f"{base + 10} MiB",), (f"{new + 10} MiB",))
    assert compared(*sides, allow=["machine.memory_available"]).differences[0].allowed


def test_memory_that_others_hold_during_one_run_is_refused_too(side: Any) -> None:
    base = side(0, 6, available(839))
    (base / "03.json").write_text(json.dumps(copy(DOCUMENTS[3], available(530))))
    with pytest.raises(engine.RefusedError) as error:
        compared(base, side(6, 12, available(839)))
    (found,) = error.value.differences
    assert (found.base, found.within) == (("540..849 MiB",), True)


@pytest.mark.parametrize(
    ("base", "new", "differs"),
    [(0, 12288, False), (12288, 0, False), (0, 4096, False), (512, 12800, False), (0, 12800, True)],
)
def test_what_our_own_module_taints_the_kernel_with_is_no_difference(
    base: int, new: int, differs: bool, side: Any
) -> None:
    """Out of tree and unsigned: so it is after the first run of a boot."""
    comparison = compared(
        side(0, 6, run_of("kernel/taint", base)), side(6, 12, run_of("kernel/taint", new))
    )
    assert [d.name for d in comparison.differences] == ["kernel.taint"] * differs


def test_modules_of_others_that_taint_the_kernel_are_a_difference(side: Any) -> None:
    plain, tainting = (run_of("kernel/tainting_modules", names) for names in ([], ["nvidia"]))
    (found,) = compared(side(0, 6, plain), side(6, 12, tainting)).differences
    assert (found.name, found.kind, found.new) == ("kernel.tainting_modules", "other", ("nvidia",))
    # Of a version that did not record them nothing is known.
    assert compared(side(0, 6), side(12, 18, tainting)).differences == ()


INVALIDATING = {
    "parameters.held": run_of("parameters/held", 301),
    "parameters.thp": run_of("parameters/thp", "never"),
    "parameters.iterations": run_of("parameters/iterations", 5),
    "machine.memory": run_of("machine/memory_bytes", 2 << 30),
    "machine.cpus_used": run_of("machine/cpus_used", "0"),
    "machine.cpu_model": run_of("machine/cpu_model", "AMD EPYC 9965"),
    "machine.hypervisor": run_of("machine/hypervisor", None),
    "machine.nodes": lambda d: d["run"]["machine"]["nodes"].append(
        {"node": 2, "cpus": "", "memory_bytes": 0, "distances": None}
    ),
    "machine.clocksource": run_of("machine/clocksource", "tsc"),
    "machine.page_size": run_of("kernel/page_size_bytes", 65536),
    "machine.architecture": run_of("kernel/machine", "aarch64"),
    "governor": run_of("machine/governors", ["powersave"]),
    "swap": run_of("machine/swap_bytes", 1 << 30),
    "thp.enabled": run_of("machine/thp/enabled", "never"),
    "debug.DEBUG_VM": run_of("kernel/config/options/DEBUG_VM", "y"),
    "debug.KASAN": run_of("kernel/config/options/KASAN", "y"),
    "debug.PROVE_LOCKING": run_of("kernel/config/options/PROVE_LOCKING", "y"),
    "tool.module": run_of("bundle/source/kmod", "0" * 64),
    "incomplete": run_of("complete", False),
}


@pytest.mark.parametrize("name", INVALIDATING)
def test_what_invalidates_is_refused_unless_it_is_allowed(name: str, side: Any) -> None:
    base, new = side(0, 6), side(6, 12, INVALIDATING[name])
    with pytest.raises(engine.RefusedError) as refused:
        compared(base, new)
    assert name in [d.name for d in refused.value.differences]
    names = [d.name for d in refused.value.differences]
    comparison = compared(base, new, allow=names)
    assert [d.allowed for d in comparison.differences if d.name in names] == [True] * len(names)


def test_incomplete_runs_are_refused_even_if_all_are(side: Any) -> None:
    cut = run_of("complete", False)
    with pytest.raises(engine.RefusedError, match="incomplete"):
        compared(side(0, 6, cut), side(6, 12, cut))
    allowed = compared(side(0, 6, cut), side(6, 12, cut), allow=["incomplete"])
    assert allowed.exit_code == engine.CANNOT_TELL


OTHER = {
    "vm.swappiness": run_of("machine/sysctl_vm/swappiness", "10"),
    "kernel.taint": run_of("kernel/taint", 512),
    "tool.version": run_of("tool_version", "0.2.0"),
    "tool.runner": run_of("bundle/source/runner", "0" * 64),
    "config.HZ": run_of("kernel/config/options/HZ", "1000"),
    "parameters.sample_size": run_of("parameters/sample_size", 5),
    "parameters.accept": run_of("parameters/accept", ["swap"]),
    "thp.defrag": run_of("machine/thp/defrag", "always"),
    "python": run_of("machine/python", "3.13.5"),
    "warnings": run_of("warnings", ["the host was busy"]),
    "parameters.pattern": run_of("parameters/pattern", "antagonist"),
    "kernel.config_options": run_of("kernel/config/options", None),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_else_differs_is_listed_before_what_is_meant(name: str, side: Any) -> None:
    def change(document: recorded.Document) -> None:
        document["run"]["kernel"]["version"] = "#2"
        OTHER[name](document)

    comparison = compared(side(0, 6), side(6, 12, change))
    kinds = [d.kind for d in comparison.differences]
    assert kinds == sorted(kinds, key=["invalidating", "other", "meant"].index)
    assert name in [d.name for d in comparison.differences if d.kind == "other"]
    text = format_text.render(comparison)
    assert text.index(f"differs: {name}") < text.index("compared: kernel.version")
    assert text.index("compared: kernel.version") < text.index("order 0")


def test_a_kernel_that_differs_in_zeroing_too_is_refused(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        document["run"]["kernel"]["version"] = "#2"
        document["run"]["kernel"]["cmdline"] = "init_on_alloc=0"

    with pytest.raises(engine.RefusedError, match=r"comparison: init_on_alloc$"):
        compared(side(0, 6), side(6, 12, other))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (run_of("parameters/held", 301), {"parameters.held"}),
        (run_of("complete", False), {"incomplete"}),
        (run_of("kernel/version", "#2"), {"kernel.version"}),
        (run_of("kernel/cmdline", "init_on_alloc=1 quiet"), {"kernel.cmdline"}),
    ],
)
def test_runs_of_one_side_must_be_alike(change: Change, names: set[str], side: Any) -> None:
    mixed = side(0, 6)
    (mixed / "00.json").write_text(json.dumps(copy(DOCUMENTS[0], change)))
    with pytest.raises(engine.RefusedError) as refused:
        compared(mixed, side(6, 12))
    assert {d.name for d in refused.value.differences} == names


def test_seeds_and_what_the_kernel_reserves_at_boot_may_differ(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        document["run"]["parameters"].update(seed=99, timeout_s=5.0, stall_s=9)
        document["run"]["machine"]["memory_bytes"] -= 1 << 20
        document["run"]["kernel"]["cmdline"] += " BOOT_IMAGE=/x"

    assert compared(side(0, 6), side(6, 12, other)).differences == ()


def test_a_run_counts_once_even_as_a_copy(side: Any, tmp_path: Path) -> None:
    base, new = side(0, 6), side(5, 12)
    with pytest.raises(engine.CompareError, match=r"side1/00\.json: the same run as .*05\.json"):
        compared(base, new)
    (base / "copy.json").write_text(json.dumps(DOCUMENTS[0], indent=1))
    with pytest.raises(engine.CompareError, match="a run counts once"):
        compared(base, side(6, 12))
    assert run(base / "00.json", base / "00.json", "--vs", new).exit_code == 3


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
    base, new = side(0, 12), side(12, 24)
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


def fails(count: int) -> Change:
    def change(document: recorded.Document) -> None:
        document["kernel_alloc_failures_order0"] = [count + document["run"]["seed"] % 7]

    return change


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
    for threshold in ("1%", "25%"):
        sides = [
            recorded.write(tmp_path / f"{threshold}{n}", [DOCUMENTS[i] for i in which])
            for n, which in enumerate((base, new))
        ]
        comparison = compared(*sides, thresholds=thresholds.parse(threshold))
        assert comparison.exit_code == engine.CANNOT_TELL
        assert {row.verdict for row in comparison.tested} == {"unknown"}
        assert "one side was measured before the other" in comparison.sentence
        assert "--accept-order" in comparison.sentence
        rate = compared(*sides, only=["kernel_page_allocs_per_second"])
        assert rate.exit_code == engine.CANNOT_TELL
        accepted = compared(*sides, accept_order=True)
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


def test_sides_without_a_common_metric_are_named(side: Any) -> None:
    def change(document: recorded.Document) -> None:
        for name in [name for name in document if name != "run"]:
            document[name.replace("order", "order1")] = document.pop(name)

    base, new = side(0, 4), side(4, 8, change)
    done = run(base, "--vs", new)
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "no metric in common" in done.stderr
    assert str(base) in done.stderr
    assert str(new) in done.stderr


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


# How it is said


def test_the_text_fits_a_commit_message(real: Comparison, side: Any) -> None:
    few = compared(side(0, 3), side(3, 6))
    everything = compared(side(0, 8), side(8, 16), everything=True)
    for comparison in (real, few, everything):
        text = format_text.render(comparison)
        assert max(map(len, text.splitlines())) <= 72
        for row in comparison.rows:
            assert f"\norder {row.order} " in text
    line = next(t for t in format_text.render(real).splitlines() if t.startswith("alloc median"))
    assert re.fullmatch(
        r"alloc median +5\.305us ±2% +665ns ±4% +-87\.4% -87\.8\.\.-86\.8 +better", line
    )


def test_the_short_form_fits_a_cover_letter(real: Comparison, side: Any) -> None:
    """Only what changed and what is shown not to have, and what is open."""
    worse = lambda d: d.update(recorded.plant_memory(d, 0.5))  # noqa: E731
    for comparison in (real, compared(side(0, 8), side(8, 16)), compared(side(0, 3), side(3, 6)),
                       compared(side(0, 8), side(8, 16, worse))):  # fmt: skip
        lines = format_short.render(comparison).splitlines()
        assert len(lines) <= 15
        assert max(map(len, lines)) <= 72
        assert comparison.sentence.partition(":")[0].split()[0] in lines[0]
        assert "thresholds: memory 2 %" in " ".join(" ".join(lines).split())
    text = format_short.render(real)
    assert "  better  allocation rate, order 4 x47.2 (x37.1..x76.6)" in text
    assert "not worse: idle memory, order 0 (-1.1..+1.1)" in text
    assert "cannot tell: idle memory, order 4" in text
    assert run(recorded.BASE, "--vs", recorded.NEW, "--format", "short").stdout == text


def test_the_manual_shows_what_is_printed() -> None:
    done = run(recorded.BASE, "--vs", recorded.NEW)
    assert (
        f"```\n{done.stdout}```\n"
        in (recorded.TOP / "bundle/page_alloc_bench/manual/compare.md").read_text()
    )


def test_the_table_fits_80_columns_and_has_more_in_more(real: Comparison) -> None:
    narrow = Text.from_ansi(format_table.render(real, 80)).plain
    wide = Text.from_ansi(format_table.render(real, 140)).plain
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    assert "boots needed" not in narrow
    assert "boots needed" in wide
    assert "allocation p99.9" in wide
    assert "\x1b[" in format_table.render(real, 80)


def test_csv_and_json_have_the_numbers_unrounded(real: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(format_csv.render(real))))
    document = json.loads(format_json.render(real))
    assert len(rows) == len(document["rows"]) == len(real.rows)
    for row, line, item in zip(real.rows, rows, document["rows"], strict=True):
        assert (line["metric"], line["statistic"]) == (row.metric, row.statistic)
        assert float(line["base_median"]) == row.base.median == item["base"]["median"]
        assert line["p"] == ("" if row.p is None else str(row.p))
        assert item["new"]["values"] == list(row.new.values)
        assert item["verdict"] == line["verdict"] == row.verdict
    assert document["exit_code"] == real.exit_code
    assert document["base"][0].endswith("init_on_alloc-1/00.json.gz")


def test_markdown_is_a_table_of_all_rows(real: Comparison) -> None:
    lines = [t for t in format_markdown.render(real).splitlines() if t.startswith("|")]
    assert len(lines) == len(real.rows) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {10}
    assert any(line.startswith("| allocation p99 | 4 |") for line in lines)


def test_the_command_writes_what_the_name_of_the_file_says(tmp_path: Path) -> None:
    for name, begin in (("a.json", "{"), ("a.csv", "family,"), ("a.md", "**"), ("a.txt", "page-")):
        done = run(recorded.BASE, "--vs", recorded.NEW, "-o", tmp_path / name)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert (tmp_path / name).read_text().startswith(begin)


def test_exit_codes(side: Any) -> None:
    worse = lambda d: d.update(recorded.plant_memory(d, 0.8))  # noqa: E731
    base, bad = side(0, 8), side(8, 16, worse)
    only = ("--metric", "idle_available_bytes", "--threshold", "memory=10%")
    side(0, 1)  # so that the next one was measured by turns with the first
    alike = side(8, 16)
    assert run(base, "--vs", alike, *only).exit_code == 0
    assert run(base, "--vs", alike, *only).exit_code == 0
    assert run(base, "--vs", bad).exit_code == 1
    assert run(base, "--vs", bad, "--threshold", "memory=20%").exit_code == 2
    assert run(base, "--vs", alike).exit_code == 2
    assert run(base, "--vs", alike, "--not-shown-worse").exit_code == 0
    assert run(base / "00.json", "--vs", bad).exit_code == 2
    assert run(base, "--vs", base).exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Missing argument"),
        ([recorded.BASE], "give the two sides"),
        ([recorded.BASE, "--vs"], "each side"),
        (["--vs", recorded.BASE], "each side"),
        (["a", "--vs", "b", "--vs"], "each side"),
        ([recorded.BASE, "--vs", recorded.NEW, "--threshold", "tial=2%"], "no kind of figure"),
        ([recorded.BASE, "--vs", recorded.NEW, "--filter", "governor"], "FACT=PATTERN"),
        (["a", "--vs", "b"], "a: no such file"),
        ([recorded.BASE, "--vs", recorded.NEW, "--threshold", "-1%"], "no percentage"),
        ([recorded.BASE, "--vs", recorded.NEW, "--threshold", "nan"], "no percentage"),
        ([recorded.BASE, "--vs", recorded.NEW, "--confidence", "100"], "below 100%"),
        ([recorded.BASE, "--vs", recorded.NEW, "--format", "yaml"], "yaml"),
        ([recorded.BASE, "--vs", recorded.NEW, "--bogus"], "bogus"),
        ([recorded.BASE, "--vs", recorded.NEW, "--metric", "speed"], "no metric in common matches"),
        ([recorded.BASE, "--vs", recorded.NEW, "-o", "/proc/absent/x"], "/proc/absent/x"),
    ],
)
def test_wrong_usage_ends_with_3(arguments: list[object], reason: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 3
    assert reason in done.stderr
    assert done.stdout == ""


def test_a_refusal_says_what_differs_and_what_would_allow_it(side: Any) -> None:
    base, new = side(0, 6), side(6, 12, INVALIDATING["thp.enabled"])
    done = run(base, "--vs", new)
    assert done.exit_code == 3
    assert "  thp.enabled: always -> never" in done.stderr
    assert "--allow-difference thp.enabled" in done.stderr
    allowed = run(base, "--vs", new, "--allow-difference", "thp.enabled", "--not-shown-worse")
    assert allowed.exit_code == 0
    assert "differs: thp.enabled: always -> never (allowed)" in allowed.stdout


RIGHT = {
    "thp.enabled": "thp.enabeld",
    "governor": "governer",
    "parameters.held": "parameters.helt",
    "machine.cpu_model": "machine.cpumodel",
    "incomplete": "incomplet",
}


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("command", ["compare", "report"])
def test_a_fact_to_allow_that_there_is_not_is_told_what_there_is(
    command: str, right: str, side: Any, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    where = ["-o", page] if command == "report" else []
    words = [command, side(0, 6), "--vs", side(6, 12), *where, "--allow-difference", RIGHT[right]]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert (done.exit_code, done.stdout) == (2 if command == "report" else 3, "")
    assert not page.exists()
    assert f"--allow-difference: there is no fact {RIGHT[right]}." in done.stderr
    assert f"Did you mean {right}?" in done.stderr
    assert "There are: " in done.stderr


@pytest.mark.parametrize(
    "name",
    ["thp.*", "parameters", "debug.KASAN", "config.HZ", "machine.node7.memory", "kernel.*", "swap"],
)
def test_a_fact_to_allow_may_be_alike_in_these_runs_or_known_to_others_only(
    name: str, side: Any
) -> None:
    assert compared(side(0, 6), side(6, 12), allow=[name], not_shown_worse=True).exit_code == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("idle_availible_bytes", "Did you mean idle_available_bytes?"),
        ("kernel_page_aloc_latencies_ns:p99", "Did you mean kernel_page_alloc_latencies_ns?"),
        ("kernel_page_alloc_latencies_ns:p98", "Did you mean p99?"),
        ("idle_available_bytes_order7", "There are: idle_available_bytes, "),
        ("speed", "There are: idle_available_bytes, "),
    ],
)
def test_each_metric_that_is_asked_for_must_be_one(wrong: str, said: str, side: Any) -> None:
    """One that is right does not hide another that is not."""
    done = run(side(0, 6), "--vs", side(6, 12), "--metric", "idle_available_bytes",
               "--metric", wrong)  # fmt: skip
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"no metric in common matches {wrong}. " in done.stderr
    assert said in done.stderr


def test_a_bad_file_gets_one_line(side: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"run": ')
    done = run(side(0, 2), "--vs", bad)
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {bad}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("width", [120, 110, 100, 80, 72, 60, 50, 40])
def test_a_table_leaves_out_columns_and_cuts_no_number(width: int) -> None:
    """Whatever the width, what is shown of a row stands as in the widest table."""
    comparison = compared(recorded.BASE, recorded.NEW, allow=["init_on_alloc"])
    whole = set(Text.from_ansi(format_table.render(comparison, 200)).plain.split())
    text = Text.from_ansi(format_table.render(comparison, width)).plain
    lines = text[text.index("verdict") :].splitlines()
    table = [line for line in lines if re.match(r" (alloc|free|idle|antag|failed|remote)", line)]
    assert len(table) > 10
    for line in table:
        assert "…" not in line
        assert len(line.rstrip()) <= width
        numbers = [word for word in line.split() if re.search(r"[0-9]", word)]
        assert set(numbers) <= whole


@pytest.mark.parametrize(
    ("percents", "change", "interval"),
    [
        ((-1.23, -1.6, 1.5), "-1.2%", "-1.6..+1.5"),
        ((4556.6, 4120.0, 5044.0), "x46.6", "x42.2..x51.4"),
        ((850.0, 700.0, 1200.0), "x9.5", "x8..x13"),
        ((-0.04, -99.4, 100.2), "+0.0%", "-99.4..+100"),
        ((None, 40.0, None), "n/a", "+40.0.."),
        ((-50.0, -100.0, 3.0), "-50.0%", "..+3.0"),
        ((4556.6, None, None), "x46.6", ""),
        ((None, None, None), "n/a", ""),
    ],
)
def test_a_change_and_its_interval_are_of_one_notation(
    percents: tuple[float | None, float | None, float | None], change: str, interval: str
) -> None:
    assert notation.change(*percents) == change
    assert notation.interval(*percents) == interval

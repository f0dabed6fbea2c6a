# SPDX-License-Identifier: GPL-2.0-only
"""A report says what the results say, in one file that is safe to open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from page_alloc_bench.analysis import compare, format_words, report
from page_alloc_bench.analysis.report import sides
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.cli import main
from recorded import BASE, NEW
from reporting import Change, Page, brief, changed, of_order_0


def test_labels_tell_sides_apart_however_long(base: list[Result], tmp_path: Path) -> None:
    def name(release: str) -> Change:
        return lambda document: document["run"]["kernel"].update(release=release)

    one, other = (
        changed(base[n], tmp_path / f"{n}.json", name(f"6.18.0-rc3-next-2026{'x' * 40}-{n}-dirty"))
        for n in (0, 1)
    )
    labels = [side.label for side in sides.make([one], [other])]
    assert labels == ["base (…xxxxxxxxx-0-dirty)", "new (…xxxxxxxxx-1-dirty)"]
    assert sides.make(base[:1], [one])[1].label == f"new (6.18.0-rc3-next-2026{'x' * 21}…)"


# What the page says.


def test_it_begins_with_the_verdict_of_compare(
    two_sided: str, base: list[Result], new: list[Result]
) -> None:
    text = Page(two_sided).text
    sentence = compare.compare(base, new).sentence
    assert text.index(sentence) < text.index("Warnings and differences")
    for row in compare.compare(base, new).rows:
        assert compare.describe(row) in text


def test_the_words_of_a_page_are_explained_in_it(
    two_sided: str, base: list[Result], new: list[Result]
) -> None:
    """The page has verdicts in full, and one notation of a change with its interval."""
    text = Page(two_sided).text
    explained, table = (text.index(words) for words in ("Median of boots with", "What changed"))
    made = compare.compare(base, new)
    for row in made.rows:
        assert row.verdict.removeprefix("better, ") in text[explained:table]
        if inside := format_words.interval(row):
            unit = "ppm" if row.kind == "failures" else ""
            assert f"{format_words.change(row)}{unit} ({inside})" in text[table:]
    assert "~" not in text[explained:table]
    decides, apart = text[table:].split("shown, and tested apart; decides nothing:")
    rest = apart[: apart.index("Geometric means")]
    for row in made.rows:
        assert compare.describe(row) in (decides if row.decides else rest)
    assert f"Of {made.tests} figures that decide, " in text


def test_one_side_is_told_without_a_verdict(single: str) -> None:
    text = Page(single).text
    assert "time of one: median 4.98 µs" in text
    assert "What changed" not in text
    assert "the CPUs were emulated: times tell nothing of real hardware" in text


def test_differing_facts_stand_before_any_figure(two_sided: str) -> None:
    text = Page(two_sided).text
    place = text.index("Facts that differ")
    assert place < text.index("What changed")
    assert "init_on_alloc" in text[place : text.index("What changed")]


def test_sides_that_must_not_be_compared_are_not(
    base: list[Result], new: list[Result], tmp_path: Path
) -> None:
    def slow(document: dict[str, Any]) -> None:
        brief(document)
        document["run"]["machine"]["thp"]["enabled"] = "never"

    ours = [changed(base[n], tmp_path / f"{n}.json", brief) for n in range(2)]
    other = changed(new[0], tmp_path / "x.json", slow)
    text = Page(report.html(ours, [other])).text
    assert "Not compared" in text
    assert "thp.enabled" in text
    assert "invalidates the comparison" in text
    assert "What changed" not in text
    assert "What changed" in Page(report.html(ours, [other], allow=["thp.enabled"])).text


def test_warnings_and_unfinished_runs_come_first(base: list[Result], tmp_path: Path) -> None:
    def spoil(document: dict[str, Any]) -> None:
        brief(document)
        run = document["run"]
        run["warnings"] = ["memory has been LOST"]
        run["iterations"][0]["warnings"] = ["no report of the kill"]
        run["complete"] = False
        run["ended"] = {"complete": False, "reason": "stopped by SIGINT", "exit_code": 130}

    sound = changed(base[1], tmp_path / "y.json", brief)
    text = Page(report.html([changed(base[0], tmp_path / "x.json", spoil), sound])).text
    first = text[: text.index("Allocation latency")]
    for told in ("LOST (1 of 2 runs)", "no report of the kill", "not complete: stopped by SIGINT"):
        assert told in first


def test_every_parameter_and_fact_is_there(single: str, base: list[Result]) -> None:
    text = Page(single).text
    run = base[0].run
    for name, value in run["parameters"].items():
        assert f"parameters.{name}" in text
        assert str(value) in text
    for name in (*run["kernel"], *run["machine"], *run["kernel"]["config"]["options"]):
        assert name in text
    assert run["kernel"]["cmdline"] in text
    for counter in run["phases"][1]["vmstat_delta"]:
        assert counter in text


def test_a_run_in_which_nothing_moved_tells_what_the_kernel_said(
    base: list[Result], tmp_path: Path
) -> None:
    def stop(document: dict[str, Any]) -> None:
        brief(document)
        document["run"]["stall"] = {
            "phase": "idle",
            "at_s": 12.5,
            "tasks": [{"tid": 7, "name": "populate", "state": "D", "wchan": "x", "stack": None}],
            "kernel_log": ["sysrq: Show Memory", "Mem-Info:"],
        }
        document["run"]["preflight"] = [
            {"name": "swap", "severity": "warn", "accepted": False, "found": "2 GiB of swap",
             "meaning": "the child swaps", "advice": "swapoff"}
        ]  # fmt: skip

    text = Page(report.html([changed(base[0], tmp_path / "x.json", stop)])).text
    told = text[text.index("What the kernel said") : text.index("Allocation latency")]
    for words in ("7 populate D x", "sysrq: Show Memory\nMem-Info:", "12.5", "2 GiB of swap"):
        assert words in told


def nothing_measured(document: dict[str, Any]) -> None:
    for name in [name for name in document if name != "run"]:
        del document[name]
    document["run"]["complete"] = False


def no_latencies(document: dict[str, Any]) -> None:
    for name in [name for name in document if "_latenc" in name]:
        del document[name]


def only_idle(document: dict[str, Any]) -> None:
    for name in [n for n in document if n != "run" and not n.startswith("idle")]:
        del document[name]
    run = document["run"]
    run["complete"] = False
    run["phases"] = run["phases"][:2]
    run["phases"][1]["complete"] = False
    run["iterations"] = run["iterations"][:1]


def bare_phases(document: dict[str, Any]) -> None:
    for phase in document["run"]["phases"]:
        for name in ("buddyinfo_before", "buddyinfo_after", "duration_s", "complete"):
            del phase[name]


WITHOUT = (nothing_measured, no_latencies, only_idle, bare_phases)


def assert_told_without_figures(text: str) -> None:
    assert "nan" not in re.findall(r"\w+", Page(text).text.lower())
    assert "Parameters" in text


@pytest.mark.parametrize("change", WITHOUT)
def test_what_was_not_measured_is_left_out(
    base: list[Result], tmp_path: Path, change: Change
) -> None:
    assert_told_without_figures(report.html([changed(base[0], tmp_path / "x.json", change)]))


def test_what_one_run_of_a_side_has_not_measured_is_left_out(
    base: list[Result], tmp_path: Path
) -> None:
    changes = (*WITHOUT, of_order_0)
    runs = [changed(base[i], tmp_path / f"{i}.json", change) for i, change in enumerate(changes)]
    assert_told_without_figures(report.html(runs))


# The command.


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["report", *map(str, arguments)])
    return done.exit_code, done.output


def test_it_ends_with_0_when_the_page_is_written(
    tmp_path: Path, base: list[Result], new: list[Result]
) -> None:
    path = tmp_path / "report.html"
    one, _, _ = (
        changed(result, tmp_path / f"{name}.json", brief)
        for name, result in (("x", base[0]), ("00", new[0]), ("01", new[1]))
    )
    assert run(one.path, "--vs", tmp_path / "0*.json", "-o", path)[0] == 0
    assert "new (init_on_alloc=0)" in path.read_text()


def test_it_ends_with_2_when_it_cannot_be_written(tmp_path: Path, base: list[Result]) -> None:
    path = tmp_path / "nowhere/report.html"
    status, output = run(base[0].path, "-o", path)
    assert status == 2
    assert str(path) in output


@pytest.mark.parametrize(
    "arguments",
    [
        [BASE],
        [BASE, "--vs", "-o", "x.html"],
        ["--vs", BASE, "-o", "x.html"],
        [BASE, "--vs", NEW, "--vs", NEW, "-o", "x.html"],
        [BASE, "-o", "x.html", "--threshold", "-1"],
        ["-o", "x.html"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[object], tmp_path: Path) -> None:
    status, output = run(*(tmp_path / a if a == "x.html" else a for a in arguments))
    assert status == 2
    assert output.startswith("error: ")
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("content", ["", '{"run": {', "[1]", '{"run": {"schema_version": 9}}'])
def test_a_file_that_is_no_result_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    status, output = run(path, "-o", tmp_path / "x.html")
    assert status == 2
    assert str(path) in output
    assert output.count("\n") == 1
    assert not (tmp_path / "x.html").exists()


def test_the_same_run_on_both_sides_is_refused(tmp_path: Path) -> None:
    status, output = run(BASE, "--vs", BASE, "-o", tmp_path / "x.html")
    assert status == 2
    assert "the same run" in output

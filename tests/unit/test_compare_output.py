# SPDX-License-Identifier: GPL-2.0-only
"""How compare says what it concludes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.text import Text

import recorded
from comparing import INVALIDATING, compared, run
from page_alloc_bench.analysis import (
    format_csv,
    format_json,
    format_markdown,
    format_short,
    format_table,
    format_text,
    notation,
)
from page_alloc_bench.analysis.compare import Comparison
from page_alloc_bench.cli import main


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
    few = format_short.render(compared(side(0, 3), side(3, 6)))
    assert "3 and 3 boots are too few for an interval" in " ".join(few.replace(",", "").split())
    text = format_short.render(real)
    assert "  better  allocation rate, order 4 x50.3 (x40.6..x64.6)" in text
    assert "not worse: idle memory, order 0 (-1.2..+1.1)" in text
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


@pytest.mark.parametrize("form", ["table", "text", "short", "markdown", "csv", "json"])
@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("pairs_allocs_per_second", "neither side has pairs_allocs_per_second"),
        (
            "bursts_alloc_latencies_ns_order4:p99",
            "neither side has bursts_alloc_latencies_ns_order4:p99",
        ),
        ("kernel_page_allocs_per_second", "only one side has allocation rate, order 0"),
    ],
)
def test_a_metric_that_is_to_decide_and_is_not_there_is_no_verdict(
    only: str, said: str, form: str, side: Any
) -> None:
    """However it is written: there is one, so its name is not a mistake, but no figure of it."""

    def lack(document: recorded.Document) -> None:
        for name in [name for name in document if "per_second" in name]:
            del document[name]

    done = run(side(0, 8, lack), "--vs", side(8, 16), "--metric", only, "--format", form)
    assert done.exit_code == 2
    if form == "csv":  # which has rows only
        assert done.stdout.startswith("family,metric,statistic,")
        assert done.stdout.count("\n") == 1
    else:
        assert said in re.sub(r"\\|\s+", " ", done.stdout.replace("\\_", "_"))


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
        ([recorded.BASE, "--vs", recorded.NEW, "--threshold", "-1%"], "not a percentage"),
        ([recorded.BASE, "--vs", recorded.NEW, "--threshold", "nan"], "not a percentage"),
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
    words = [command, side(0, 2), "--vs", side(6, 8), *where, "--allow-difference", RIGHT[right]]
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
def test_a_table_leaves_out_columns_and_cuts_no_number(width: int, real: Comparison) -> None:
    """Whatever the width, what is shown of a row stands as in the widest table."""
    whole = set(Text.from_ansi(format_table.render(real, 200)).plain.split())
    text = Text.from_ansi(format_table.render(real, width)).plain
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

# SPDX-License-Identifier: GPL-2.0-only
"""Results of counted instructions in show, compare and report: by function, and never as times."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from page_alloc_bench.cli import main

DATA = Path(__file__).parents[1] / "data"
BASE, NEW = DATA / "counted/6.1", DATA / "counted/6.12"
TIMED = DATA / "results/init_on_alloc-1"
# A debug option of Debian's 6.12 that 6.1 does not have.
ALLOWED = ("--allow-difference", "debug.KFENCE")
PATTERNS = ("antagonist", "pairs", "bursts")


def call(*arguments: object) -> Result:
    runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})
    return runner.invoke(main, list(map(str, arguments)))


def compare(base: Path, new: Path, *more: object) -> Result:
    return call("compare", base, "--vs", new, *ALLOWED, *more)


def edited(side: Path, to: Path, edit: Callable[[dict[str, Any], int], object]) -> Path:
    """Copy the boots of a side, changed by EDIT(document, number of the boot)."""
    to.mkdir()
    for number, path in enumerate(sorted(side.glob("*.json.gz"))):
        document = json.loads(gzip.decompress(path.read_bytes()))
        edit(document, number)
        (to / f"{number}.json").write_text(json.dumps(document))
    return to


def rows(text: str, pattern: str, order: int) -> dict[str, list[float]]:
    """Return the lines of a table by function: the name, and the numbers after it."""
    block = text[text.index(f"{pattern} at order {order}, of one operation") :]
    found, name = {}, ""
    for line in block.splitlines()[2:]:
        match = re.fullmatch(r"\s+((?:[^\s\d.+-].*?|\d+ others)?)\s+((?:[-+]?[\d.]+\s*)+)", line)
        if match:
            found[match[1] or name] = [float(w) if w != "." else 0.0 for w in match[2].split()]
            name = ""
        elif re.fullmatch(r"\s+\S+", line):
            name = line.strip()
        else:
            break
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("order", [0, 4])
def test_show_tells_where_the_instructions_are(pattern: str, order: int) -> None:
    shown = call("show", BASE / "1.json.gz").stdout
    found = rows(shown, pattern, order)
    whole = found.pop("all")
    assert "[module], the benchmark's own" in found
    # Instructions, atomic ones, loads, stores: each of them adds up to the whole.
    for column, total in enumerate(whole):
        assert sum(row[column] for row in found.values()) == pytest.approx(total, abs=0.08)
    assert found["get_page_from_freelist"][0] > 100
    assert "latencies" not in shown


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("order", [0, 4])
def test_compare_tells_which_functions_made_the_difference(pattern: str, order: int) -> None:
    found = rows(compare(BASE, NEW, "--format", "text").stdout, pattern, order)
    whole = found.pop("all")
    for column in range(3):
        assert sum(row[column] for row in found.values()) == pytest.approx(whole[column], abs=0.08)
    named = [abs(row[2]) for name, row in found.items() if "others" not in name]
    assert named[1:] == sorted(named[1:], reverse=True)
    assert abs(found["[module]"][2]) < 0.05


def test_the_verdict_is_by_the_counts_and_two_boots_are_enough() -> None:
    made = compare(BASE, NEW, "--format", "json")
    document = json.loads(made.stdout)
    assert made.exit_code == 1
    assert document["counted"] is True
    rows = {(row["metric"], row["order"]): row for row in document["rows"] if row["decides"]}
    assert len(rows) == 6
    pairs = rows["exact_pairs_instructions_per_1000_operations", 0]
    assert pairs["change_percent"] == pytest.approx(20.61, abs=0.01)
    assert pairs["change_high"] - pairs["change_low"] < 0.01
    assert (pairs["verdict"], pairs["p"], pairs["needed"]) == ("worse", None, None)
    assert rows["exact_pairs_instructions_per_1000_operations", 4]["verdict"] == "better"


def test_the_same_kernel_is_no_regression(tmp_path: Path) -> None:
    def another(document: dict[str, Any], number: int) -> None:
        document["run"]["boot_id"] = f"another-{number}"

    made = compare(BASE, edited(BASE, tmp_path / "again", another), "--format", "text")
    assert made.exit_code == 0
    assert "No regression: all 6 figures" in made.stdout


@pytest.mark.parametrize(
    ("order", "more", "part"),
    # At order 4 which pages are free makes as much as 0.3 %.
    [(0, 1000, "+0.14%"), (4, 4000, ""), (4, 16000, "+0.9")],
)
def test_more_instructions_are_found_where_they_are_the_codes(
    order: int, more: int, part: str, tmp_path: Path
) -> None:
    def longer(document: dict[str, Any], number: int) -> None:
        document["run"]["boot_id"] = f"another-{number}"
        name = f"exact_pairs_instructions_per_1000_operations_order{order}"
        document[name] = [document[name][0] + more]

    made = compare(BASE, edited(BASE, tmp_path / "longer", longer), "--format", "short")
    assert made.exit_code == (1 if part else 0)
    if part:
        assert f"worse   pairs: instructions of 1000, order {order} {part}" in made.stdout


def test_boots_that_differ_by_as_much_as_the_sides_tell_nothing(tmp_path: Path) -> None:
    def odd(document: dict[str, Any], number: int) -> None:
        document["run"]["boot_id"] = f"another-{number}"
        name = "exact_pairs_instructions_per_1000_operations_order0"
        document[name] = [document[name][0] + 2000 * number]

    made = compare(BASE, edited(BASE, tmp_path / "odd", odd), "--format", "text")
    assert made.exit_code == 2
    assert "boots of one side differ by too much" in " ".join(made.stdout.split())


def test_one_boot_does_not_tell_its_error() -> None:
    made = compare(BASE / "1.json.gz", NEW / "1.json.gz", "--format", "text")
    assert made.exit_code == 2
    assert "one boot does not tell by how much boots differ" in " ".join(made.stdout.split())


@pytest.mark.parametrize("form", ["text", "short", "markdown", "csv", "json", "table"])
def test_every_format_says_it_without_an_interval_of_chance(form: str) -> None:
    made = compare(BASE, NEW, "--format", form)
    assert made.exit_code == 1
    assert "95 %" not in made.stdout
    if form in ("text", "short"):
        assert max(map(len, made.stdout.splitlines())) <= 72
    if form == "short":
        assert len(made.stdout.splitlines()) <= 15
    if form != "csv":
        assert ("check_new_pages" if form == "short" else "free_pcp_prepare") in made.stdout


@pytest.mark.parametrize("sides", [(BASE, TIMED), (TIMED, NEW)])
def test_counted_and_timed_results_are_not_compared(sides: tuple[Path, Path]) -> None:
    made = compare(*sides)
    assert made.exit_code == 3
    assert "counted in instructions" in made.stderr
    assert "measured in nanoseconds" in made.stderr


def test_one_side_of_both_kinds_is_refused_too(tmp_path: Path) -> None:
    made = call("compare", BASE, TIMED, "--vs", NEW)
    assert made.exit_code == 3
    assert "measured in nanoseconds" in made.stderr
    made = call("report", BASE, TIMED, "-o", tmp_path / "report.html")
    assert made.exit_code == 2
    assert "measured in nanoseconds" in made.stderr


def test_the_report_draws_what_made_the_difference(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    made = call("report", BASE, "--vs", NEW, *ALLOWED, "-o", page, "--svg", tmp_path)
    assert made.exit_code == 0
    for pattern in PATTERNS:
        for order in (0, 4):
            drawn = (tmp_path / f"instructions-{pattern}-order{order}.svg").read_text()
            assert "get_page_from_freelist" in drawn or "free_pcp_prepare" in drawn
            assert "[module]" in drawn
            assert "all others" in drawn
    text = page.read_text()
    assert "pairs 714.06 → 861.26" in text
    assert "Instructions by function" in text


def test_one_side_is_drawn_as_it_is(tmp_path: Path) -> None:
    assert call("report", BASE, "--svg", tmp_path).exit_code == 0
    drawn = (tmp_path / "instructions-pairs-order0.svg").read_text()
    assert "get_page_from_freelist" in drawn
    assert "181.00" in drawn

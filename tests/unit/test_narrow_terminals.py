# SPDX-License-Identifier: GPL-2.0-only
"""In a narrow terminal no number is cut or broken: columns go, words wrap, hosts stay whole.

That is tried for each command with a table that needs no guest, down to 40 columns. Longer than the
terminal is only what is one word, such as a digest, or a line that is to be copied.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import on_terminal
import recorded
from made_up_series import less_memory, written
from page_alloc_bench.analysis import results, scaling, show
from page_alloc_bench.cli import main
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.metrics import Kind

ONE = Path("init_on_alloc-1/03.json.gz")
COUNTED = recorded.TOP / "tests/data/counted"
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w.])")

pytestmark = pytest.mark.parametrize("columns", [40, 60, 80])


def shown(columns: int, *arguments: object, allowed: tuple[int, ...] = (0,)) -> list[str]:
    """Return the lines of a command on a terminal, none of which is too long."""
    lines = on_terminal.shown(arguments, columns, allowed).splitlines()
    long = [line for line in lines if len(line) > columns and len(line.split()) > 1]
    assert long == []
    assert not re.search(r"\d…|…\d", "\n".join(lines))
    return lines


def piped(*arguments: object) -> str:
    done = CliRunner(env={"COLUMNS": "100"}).invoke(main, list(map(str, arguments)))
    assert done.exit_code in (0, 1, 2), done.output
    return done.stdout


def test_show(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recorded.RESULTS)
    lines = shown(columns, "show", ONE)
    wide = piped("show", ONE)
    # Of each octave of each operation.
    counts = [re.findall(r"█ +([\d,]+)", text) for text in ("\n".join(lines), wide)]
    assert sorted(counts[0]) == sorted(counts[1])
    assert len(counts[0]) > 20
    # Each figure that is told is one that a wide terminal is told, or the same in a larger unit.
    table = [line for line in lines if line.startswith("  idle memory, MiB")]
    assert table
    for line in table:
        assert set(NUMBER.findall(line)) <= set(NUMBER.findall(wide))


def test_show_of_counted_instructions(columns: int) -> None:
    lines = shown(columns, "show", COUNTED / "6.1/1.json.gz")
    wide = piped("show", COUNTED / "6.1/1.json.gz")
    told = set(NUMBER.findall("\n".join(lines)))
    assert told <= set(NUMBER.findall(wide))
    result = results.load(COUNTED / "6.1/1.json.gz")
    for case in result.run["exact"]["cases"]:
        name = f"exact_{case['pattern']}_instructions_per_1000_operations"
        assert f"{int(result.values(name, case['order'])[0]):,}" in told
    for function in ("get_page_from_freelist", "__list_del_entry_valid"):
        assert any(line.split()[:1] == [function] for line in lines)


def test_show_facts(columns: int) -> None:
    lines = shown(columns, "show", "--facts", recorded.RESULTS / ONE)
    text = " ".join(" ".join(lines).split())
    assert text == " ".join(piped("show", "--facts", recorded.RESULTS / ONE).split())


@pytest.mark.parametrize("name", ["idle_available_bytes", "kernel_page_alloc_latencies_ns"])
def test_show_metric(name: str, columns: int) -> None:
    lines = shown(columns, "show", "--metric", name, recorded.RESULTS / ONE)
    text = " ".join(" ".join(lines).split())
    assert text == " ".join(piped("show", "--metric", name, recorded.RESULTS / ONE).split())


def test_show_by_cpus(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    result = results.load(recorded.RESULTS / ONE)
    rate = next(metric for metric in metrics.every().values() if metric.kind is Kind.RATE)
    points = {1: [12_345_678.0], 2: [23_456_789.0], 1024: [123_456_789_012.0]}
    curve = scaling.Curve(rate, "", result.cases[0], points)
    monkeypatch.setattr(scaling, "curves", lambda _: [curve])
    lines = [line.text for line in show.overview(result, columns)]
    assert max(len(line) for line in lines if len(line.split()) > 1) <= columns
    for number in ("1,024", "123,456,789,012", "12,345,678"):
        assert any(number in line.split() for line in lines)


def test_kernels(columns: int) -> None:
    lines = shown(columns, "kernels", "--list")
    wide = [line for line in piped("kernels", "--list").splitlines() if line]
    assert lines[0].split()[0] == "NAME"
    assert "CACHED" in lines[0]
    text = " ".join(" ".join(lines).split())
    at = wide[0].index("NOTES")
    for line in wide[1:]:
        assert line.split()[0] in text
        assert " ".join(line[at:].split()) in text


def test_compare(columns: int) -> None:
    sides = (recorded.BASE, "--vs", recorded.NEW)
    lines = shown(columns, "compare", *sides, allowed=(2,))
    wide = on_terminal.shown(("compare", *sides), 150, (2,))
    told = {word for line in lines for word in re.findall(r"[-+x][\d.]+%?", line)}
    assert len(told) > 20
    assert told <= set(re.findall(r"[-+x][\d.]+%?", wide))


def test_compare_counted_instructions(columns: int) -> None:
    words = ("compare", COUNTED / "6.1", "--vs", COUNTED / "6.12")
    allowed = ("--allow-difference", "*")
    on_terminal.shown((*words, *allowed), columns, (0, 1, 2))


def test_trend(columns: int, tmp_path: Path) -> None:
    files = written(tmp_path / "runs", less_memory(8))
    lines = shown(columns, "trend", files, allowed=(0, 1))
    text = " ".join(" ".join(lines).split())
    table = [line for line in piped("trend", files).splitlines() if line.startswith("| 6.")]
    assert table
    for row in table:
        for cell in row.strip("| ").split(" | "):
            assert cell in text


def test_query(columns: int) -> None:
    lines = shown(columns, "query", "SELECT * FROM metrics LIMIT 3", recorded.RESULTS / ONE)
    text = "\n".join(lines)
    table = piped("query", "--format=csv", "SELECT * FROM metrics LIMIT 3", recorded.RESULTS / ONE)
    for row in table.splitlines()[1:]:
        for value in filter(None, row.split(",")):
            assert value in text


def test_store_list(columns: int, tmp_path: Path) -> None:
    assert "added" in CliRunner().invoke(
        main, ["store", "add", str(tmp_path / "store"), str(recorded.BASE)]
    ).stderr  # fmt: skip
    (_, line) = shown(columns, "store", "list", tmp_path / "store")
    assert line.split()[-1] == "24"


COMMANDS = (
    "", "build", "run", "vm", "fleet", "ab", "bisect", "kernels", "kconfig", "compare", "report",
    "show", "export", "query", "store", "trend", "help", "completion",
)  # fmt: skip


def test_help(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in COMMANDS:
        done = CliRunner().invoke(main, [*filter(None, [name]), "--help"])
        assert done.exit_code == 0
        for line in done.stdout.splitlines():
            copied = re.match(r" {6,}(sudo |ssh |page-alloc-bench |scripts/)", line)
            assert len(line) <= columns or copied, f"{name}: {line}"

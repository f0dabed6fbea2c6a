# SPDX-License-Identifier: GPL-2.0-only
"""What a report says first: of each thing that a patch may harm, the worst and the best figure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recorded
from page_alloc_bench.analysis import compare, format_words, report, results
from page_alloc_bench.analysis.judged import Judged, judged
from page_alloc_bench.analysis.results import Result
from page_alloc_bench.runner.result import declared, metrics
from reporting import Page, brief, stepped

THINGS = [
    "Speed", "Tails, by path", "Scaling by CPUs", "Fragmentation", "Lost memory",
    "Failed allocations",
]  # fmt: skip


def judge(base: list[Result], new: list[Result], **options: Any) -> dict[str, Judged]:
    made = compare.compare(base, new, accept_order=True, **options)
    return {each.name: each for each in judged(made, base, new)}


def written(directory: Path, documents: list[recorded.Document]) -> list[Result]:
    return results.load_all([recorded.write(directory, documents)])


def test_each_thing_has_its_worst_and_its_best_as_compare_has_them(
    base: list[Result], new: list[Result]
) -> None:
    found = judge(base, new)
    assert list(found) == THINGS
    rows = {compare.describe(row): row for row in compare.compare(base, new).rows}
    for name in ("Speed", "Tails, by path", "Lost memory", "Failed allocations"):
        for figure in (found[name].worst, found[name].best):
            assert figure is not None
            row = rows[figure.name]
            assert format_words.interval(row) in figure.change
            assert figure.verdict.removesuffix(" (apart)") == row.verdict
    assert found["Speed"].best is not None
    assert found["Speed"].best.name == "allocation median, order 4"
    assert found["Speed"].found == "6 figures: 5 better, 1 no worse"
    # A comma is between two counts only.
    assert found["Tails, by path"].found == (
        "6 figures: 4 better, 1 better (size unclear), 1 no worse"
    )


def test_what_was_not_measured_is_said_to_be_so(base: list[Result], new: list[Result]) -> None:
    found = judge(base, new)
    for name in ("Scaling by CPUs", "Fragmentation"):
        assert found[name] == Judged(name, "not measured on both sides")


def test_what_is_shown_to_be_worse_is_the_worst(tmp_path: Path) -> None:
    """Not what may be by more, or less: the memory here, whose spread hides twice the change."""
    documents = recorded.documents(recorded.BASE)[:16]
    spoilt = []
    for number, document in enumerate(documents[1::2]):
        planted = recorded.plant_latency(document, 1.5, "free")
        factor = 2.5 if number % 2 else 0.9
        for name in list(planted):
            if re.fullmatch("kernel_page_allocs_per_second_order[04]", name):
                planted[name] = [round(planted[name][0] / factor)]
        spoilt.append(planted)
    found = judge(written(tmp_path / "a", documents[::2]), written(tmp_path / "b", spoilt))
    worst = found["Speed"].worst
    assert worst is not None
    assert worst.name.startswith("free median")
    assert worst.verdict == "worse"


def test_scaling_is_told_by_what_each_cpu_keeps(tmp_path: Path) -> None:
    base = [stepped(tmp_path, number, change=brief) for number in range(8)]
    new = [stepped(tmp_path, number, slower=0.5, change=brief) for number in range(8, 16)]
    told = judge(base, new)["Scaling by CPUs"]
    assert told.worst is not None
    assert told.worst.name == "pairs: allocation rate, order 0: what each CPU keeps on 8"
    assert told.worst.change.startswith("50 % → 25 %, -50.")
    assert told.worst.change.endswith("; knee 4 → 4")
    assert told.found == "1 figure: 1 shown only"
    assert told.best is None
    page = Page(report.html(base, new, accept_order=True)).text
    assert page.index("what each CPU keeps on 8") < page.index("Warnings and differences")


@pytest.fixture
def of_fragmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A declaration of a workload that is about fragmentation."""
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared/broken_up.py").write_text(
        "from page_alloc_bench.runner.result.metrics import Kind, Metric, Rank\n"
        "METRICS = (Metric('broken_up_blocks', 'bytes', 'higher', 'Blocks left.', Kind.AMOUNT,\n"
        "    'whole blocks', per='iteration', family='fragmentation', rank=Rank.PRIMARY),)\n"
    )
    monkeypatch.setattr(declared, "__path__", [*declared.__path__, str(tmp_path / "declared")])
    metrics.forget()
    yield
    monkeypatch.undo()
    metrics.forget()


@pytest.mark.usefixtures("of_fragmentation")
def test_a_family_about_fragmentation_is_found_by_its_declaration(tmp_path: Path) -> None:
    documents = recorded.documents(recorded.BASE)[:16]
    for number, document in enumerate(documents):
        document["broken_up_blocks_order9"] = [100 + number // 2 - 50 * (number % 2)]
    told = judge(written(tmp_path / "a", documents[::2]), written(tmp_path / "b", documents[1::2]))
    worst = told["Fragmentation"].worst
    assert worst is not None
    assert (worst.name, worst.verdict) == ("whole blocks, order 9", "worse")
    assert "whole blocks" not in str(told["Lost memory"])


def test_blocks_that_did_not_come_back_are_told(tmp_path: Path) -> None:
    documents = recorded.documents(recorded.BASE)[:4]
    sides = written(tmp_path / "a", documents[:2]), written(tmp_path / "b", documents[2:])
    assert judge(*sides)["Lost memory"].found.endswith("every block came back in all runs")
    broken = json.loads(json.dumps(documents[2]))
    broken["kernel_page_frees_per_cpu_order4"][0] -= 1
    other = written(tmp_path / "c", [broken, documents[3]])
    told = judge(sides[0], other)["Lost memory"].found
    assert "BLOCKS WERE LOST until the next boot in 1 of 8 cases of runs" in told

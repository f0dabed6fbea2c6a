# SPDX-License-Identifier: GPL-2.0-only
"""Instructions that are planted in a kernel's allocator: found, sized, and named by function."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from kernel_history import MASK, PAGE_ALLOC, History

pytestmark = pytest.mark.seconds(120)

ORDER = "0"
# Each operation of these is one allocation by __alloc_pages() and one __free_pages().
PATTERNS = ("antagonist", "bursts", "pairs")
_FREE = (
    "void __free_pages(struct page *page, unsigned int order)\n{\n"
    "\t/* get PageHead before we drop reference */\n\tint head = PageHead(page);\n\n"
)
NOP = [(MASK, '\tasm volatile("nop");\n' + MASK)]
ATOMIC = [
    (_FREE, "static atomic_long_t planted;\n\n" + _FREE + "\tatomic_long_inc(&planted);\n"),
]
# They merge and split blocks: how often depends on which pages around are free, which differs from
# boot to boot. A block that the antagonist frees is any of those that it holds.
BY_PLACE = ("__free_one_page", "rmqueue_bulk")


class Compared(NamedTuple):
    """What `ab --exact --each` said of a series: a verdict a commit, the results of each kernel."""

    code: int
    nop: dict[str, Any]
    atomic: dict[str, Any]
    kernels: list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    linux = History(tmp_path_factory.mktemp("linux") / "linux.git")
    one = linux.commit("planted", "base", "mm: one more for each allocation", {PAGE_ALLOC: NOP})
    linux.commit("planted", one, "mm: an atomic one for each free", {PAGE_ALLOC: ATOMIC})
    directory = tmp_path_factory.mktemp("planted")
    program = [sys.executable, "-m", "page_alloc_bench.cli", "ab", "base..planted", "--each"]
    words = [*program, "--exact", *linux.options(), "--dir", str(directory)]
    words += ["--", "--alloc-orders", ORDER]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    print(done.stdout, done.stderr)
    assert done.returncode in (0, 1), done.stderr
    verdicts = json.loads((directory / "verdict.json").read_text())
    sides = {path.parent for path in directory.glob("*/0001.json")}
    assert len(sides) == 3
    results = [[json.loads(path.read_text()) for path in side.iterdir()] for side in sides]
    return Compared(done.returncode, *verdicts, results)


def cases_of(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    found = [case for case in verdict["cases"] if case["pattern"] in PATTERNS]
    assert {case["pattern"] for case in found} == set(PATTERNS)
    return found


def change(counts: dict[str, Any], kind: str = "instructions") -> float:
    difference: float = counts["new"][kind] - counts["base"][kind]
    return difference


def function(case: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (part for part in case["functions"]["parts"] if part["name"] == name)
    return dict(found)


def test_one_more_instruction_for_each_allocation_is_found_sized_and_named(
    compared: Compared,
) -> None:
    assert compared.code == 1
    assert compared.nop["verdict"] == "regression"
    for case in cases_of(compared.nop):
        assert change(case) == pytest.approx(1, abs=0.3)
        assert change(function(case, "__alloc_pages")) == pytest.approx(1, abs=0.1)
        assert change(function(case, "__alloc_pages"), "atomics") == 0
        others = [p for p in case["functions"]["parts"] if p["name"] != "__alloc_pages"]
        assert all(abs(change(part)) < 0.1 for part in others), others


def test_one_more_atomic_instruction_for_each_free_is_named(compared: Compared) -> None:
    for case in cases_of(compared.atomic):
        assert change(function(case, "__free_pages"), "atomics") == pytest.approx(1, abs=0.01)
        assert change(case["functions"]["whole"], "atomics") == pytest.approx(1, abs=0.01)


def test_the_sum_over_functions_is_the_whole(compared: Compared) -> None:
    for result in (result for results in compared.kernels for result in results):
        for case, by_function in zip(result["run"]["exact"]["cases"], result["run"]["where"]):
            total = by_function["total"]["instructions"]
            assert total == pytest.approx(case["instructions"], rel=1e-3)
            assert sum(each["instructions"] for each in by_function["functions"]) == total


def test_each_function_costs_the_same_in_all_boots_of_a_kernel(compared: Compared) -> None:
    for results in compared.kernels:
        assert len(results) >= 2
        for of_case in zip(*(result["run"]["where"] for result in results)):
            costs = [
                {f["name"]: f["instructions"] / each["operations"] for f in each["functions"]}
                for each in of_case
            ]
            for name in {name for cost in costs for name in cost}:
                values = [cost.get(name, 0.0) for cost in costs]
                placed = of_case[0]["pattern"] == "antagonist" and name in BY_PLACE
                most = 0.2 if placed else 0.05
                assert max(values) - min(values) <= most, (name, of_case[0]["pattern"])

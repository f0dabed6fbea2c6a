# SPDX-License-Identifier: GPL-2.0-only
"""Settings of a kernel that a patch could change: `compare` names the workload and its path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from faults.huge_page_runs import BENCH
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(600)

# Times are instructions in these guests, so that the host's other work is not in them.
BOOTS = 4  # with which one figure can be told
# Less than a list keeps here (13,855 pages), and far more than one that is made short (252).
DEPTH = 8000
RATES = f"--workload pairs,bursts --depth {DEPTH} --alloc-orders 0 --duration-s 0.5 --repeat 3"
# What is kept of each block can be moved out of it, but who asks for a huge page will not do so.
HUGE_PAGES = "--workload fragment --keep-pages movable"
LAZY_COMPACTION = "echo never > /sys/kernel/mm/transparent_hugepage/defrag"
SHORT_LISTS = "sysctl -q vm.percpu_pagelist_high_fraction=1000000"


def measure(bundle: Path, options: str, runs: dict[Path, str], cmdline: str = "") -> None:
    """Boot once and make these runs. runs: by the file for the result, the command before it."""
    with Guest(
        kernel="6.1", icount=True, memory="1G", cmdline_extra=f"init_on_alloc=0 {cmdline}"
    ) as guest:
        guest.copy_to(bundle, BENCH)
        for path, before in runs.items():
            guest.run(
                f"{before}; {BENCH} {options} --quiet --output-path /root/result.json", timeout=600
            )
            path.parent.mkdir(exist_ok=True)
            path.write_text(guest.run("cat /root/result.json").stdout)


@pytest.fixture(scope="module")
def results(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results by turns, a boot each."""
    top = tmp_path_factory.mktemp("planted")
    for boot in range(BOOTS):
        file = f"{boot}.json"
        runs = {top / "as-it-is" / file: "true", top / "short-lists" / file: SHORT_LISTS}
        measure(bundle, RATES, runs)
        measure(bundle, RATES, {top / "init-on-free" / file: "true"}, "init_on_free=1")
    return top


@pytest.fixture(scope="module")
def results_of_huge_pages(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results by turns, each the first of its boot."""
    top = tmp_path_factory.mktemp("planted")
    for boot in range(BOOTS):
        for name, before in (("as-it-is", "true"), ("lazy-compaction", LAZY_COMPACTION)):
            measure(bundle, HUGE_PAGES, {top / name / f"{boot}.json": before})
    return top


def told(results: Path, new: str, metric: str) -> str:
    """Compare the results by one metric, which is to be worse; return what is said."""
    tool = [sys.executable, "-m", "page_alloc_bench.cli", "compare"]
    sides = [str(results / "as-it-is"), "--vs", str(results / new)]
    done = subprocess.run(
        [*tool, *sides, "--metric", metric], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("new", "metric", "words"),
    [
        ("short-lists", "bursts_refill_cost_ps",
         ["bursts: refills per allocation", "vm.percpu_pagelist_high_fraction: 0 -> 1000000",
          "252 in new (run.pcp)"]),
        ("init-on-free", "pairs_put_free_latencies_ns:median",
         ["pairs put median", "init_on_free=1"]),
    ],
)  # fmt: skip
def test_it_is_a_regression_of_the_path_that_it_changes(
    results: Path, new: str, metric: str, words: list[str]
) -> None:
    said = told(results, new, metric)
    assert [each for each in words if each not in said] == [], said


def test_compaction_made_lazier_is_a_regression_of_huge_pages(results_of_huge_pages: Path) -> None:
    said = told(results_of_huge_pages, "lazy-compaction", "fragment_huge_pages")
    words = ["fragment: huge pages", "thp.defrag: madvise -> never"]
    assert [each for each in words if each not in said] == [], said

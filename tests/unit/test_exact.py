# SPDX-License-Identifier: GPL-2.0-only
"""What is concluded from counted instructions, and how a campaign of boots goes."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.analysis.instructions import drawn, path_length, releases, words
from page_alloc_bench.campaign import exact
from page_alloc_bench.campaign.journal import CampaignError, Journal
from page_alloc_bench.targets import kconfig, where
from page_alloc_bench.targets.process import TargetError

KALLSYMS = """\
ffffffff81000000 T _text
ffffffff81001000 T get_page
ffffffff81002000 t put_page.isra.0
"""
PLUGIN = """\
access both 10 20 10 10
interval 0
block ffffffff81001004 30 10 20 5
block ffffffff81001100 70 0 10 5
block ffffffff81002010 50 5 1 2
block ffffffffa0001000 20 0 3 4
block 401000 7 0 0 0
end 0
interval 1
block ffffffff81001004 1 0 0 0
"""


def boot(
    per_operation: float,
    functions: dict[str, float],
    *,
    operations: int = 100_000,
    order: int = 0,
) -> Any:
    """A result with one case: pairs."""
    total = round(per_operation * operations)
    rows = [
        {"name": name, "instructions": round(value * operations), "atomics": 0, "loads": None,
         "stores": None}
        for name, value in functions.items()
    ]  # fmt: skip
    counts = {"instructions": total, "atomics": 3 * operations, "loads": None, "stores": None}
    case = {"pattern": "pairs", "order": order}
    return {
        "run": {
            "exact": {"cases": [{**case, "instructions": total, "allocs": operations}]},
            "where": [{**case, "operations": operations, "total": counts, "functions": rows}],
        }
    }


class Kernel:
    """A kernel whose boots cost what they are told to, or do not boot."""

    def __init__(self, name: str, costs: list[float], functions: dict[str, float] | None = None):
        self.name, self.label = name, f"kernel {name}"
        self.costs, self.booted = list(costs), 0
        self.functions = functions or {}
        self.seeds: list[int] = []

    def measure(self, seed: int) -> tuple[dict[str, Any], str]:
        self.seeds.append(seed)
        if self.booted >= len(self.costs):
            raise exact.BootFailedError("the guest's kernel panicked: no more boots", "panic!")
        cost = self.costs[self.booted]
        self.booted += 1
        return boot(cost, self.functions), "console"


def run(directory: Path, *kernels: Kernel, at_once: int = 1) -> tuple[Any, Any, list[str]]:
    told: list[str] = []
    journal = Journal(directory)
    journal.begin({"base": "x"})
    sides, failures = exact.run(journal, kernels, at_once=at_once, note=told.append)
    return sides, failures, told


def test_each_kernel_boots_twice(tmp_path: Path) -> None:
    base, new = Kernel("base", [700, 700]), Kernel("new", [710, 710.01])
    sides, failures, _ = run(tmp_path, base, new)
    assert not failures
    assert [len(side.results) for side in sides] == [2, 2]
    assert (base.booted, new.booted) == (2, 2)


def test_each_boot_has_random_numbers_of_its_own_and_both_kernels_the_same(
    tmp_path: Path,
) -> None:
    base, new = Kernel("base", [700, 700.1, 700, 700]), Kernel("new", [710, 710])
    run(tmp_path, base, new)
    assert (base.seeds, new.seeds) == ([1, 2, 3, 4], [1, 2])


def test_boots_that_differ_are_made_again_and_it_is_said_why(tmp_path: Path) -> None:
    base = Kernel("base", [700, 700.1, 700, 700], {"kworker": 1.0})
    sides, _, told = run(tmp_path, base)
    assert len(sides[0].results) == exact.MOST_BOOTS
    assert any("differ by 1.4e-04 in pairs at order 0" in line for line in told)


def test_no_cpu_idles_while_a_kernel_is_booted_again(tmp_path: Path) -> None:
    base = Kernel("base", [700, 700.1, 700, 700])
    _, _, told = run(tmp_path, base, at_once=2)
    assert base.booted == exact.MOST_BOOTS
    assert len([line for line in told if "differ by" in line]) == 1  # two more, at once


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run(tmp_path, Kernel("base", [700, 700]))
    attempts = (tmp_path / "attempts.jsonl").read_text()
    # As kill -9 leaves it, in the middle of a line.
    (tmp_path / "attempts.jsonl").write_text(attempts[: -len(attempts.splitlines()[-1]) // 2])
    again = Kernel("base", [700])
    sides, failures, _ = run(tmp_path, again)
    assert (again.booted, len(sides[0].results), failures) == (1, 2, [])


def test_a_directory_of_another_campaign_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).begin({"base": "6.1", "new": "6.12"})
    with pytest.raises(CampaignError, match="of another campaign, with other new"):
        Journal(tmp_path).begin({"base": "6.1", "new": "7.3"})


def test_a_kernel_that_does_not_boot_is_told_and_kept(tmp_path: Path) -> None:
    sides, failures, _ = run(tmp_path, Kernel("base", [700, 700]), Kernel("new", []))
    assert [failure.side for failure in failures] == ["new"]
    assert len(sides[0].results) == 2
    ends = [json.loads(line) for line in (tmp_path / "attempts.jsonl").read_text().splitlines()]
    new = [each for each in ends if each["side"] == "new"]
    assert [each["end"] for each in new] == ["failed", "failed"]
    assert "panicked" in new[-1]["reason"]
    assert (tmp_path / new[-1]["console"]).read_text() == "panic!"


def side(name: str, *costs: float, **functions: float) -> path_length.Side:
    return path_length.Side(name, name, [boot(cost, functions) for cost in costs])


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ((700.0, 700.0), "no regression"),
        ((699.0, 699.0), "no regression"),
        ((701.0, 701.0), "regression"),
        ((700.6, 700.8), "cannot tell"),
    ],
)
def test_the_verdict_is_about_the_threshold(new: tuple[float, float], verdict: str) -> None:
    found = list(path_length.compare(side("base", 700, 700), side("new", *new)))
    assert path_length.verdict(found, 0.001) == verdict


@pytest.mark.parametrize(
    ("order", "new", "verdict"),
    [
        (3, 1003, "regression"),
        (4, 1003, "no regression"),  # which pages are free makes as much
        (4, 1006, "regression"),
        (9, 1003, "regression"),
    ],
)
def test_where_blocks_are_split_less_is_not_the_codes(order: int, new: int, verdict: str) -> None:
    base = path_length.Side("base", "base", [boot(1000, {}, order=order)] * 2)
    changed = path_length.Side("new", "new", [boot(new, {}, order=order)] * 2)
    found = list(path_length.compare(base, changed))
    assert path_length.verdict(found, 0.001) == verdict
    raised = "(0.50% at order 4: which pages are free counts there)"
    assert (raised in words.text(base, changed, found, 0.001)) == (order == 4)
    assert words.as_json(base, changed, found, 0.02)["cases"][0]["threshold"] == 0.02


def test_a_case_whose_boots_differ_by_more_is_not_called_longer() -> None:
    base, new = side("base", 560, 590), side("new", 580, 610)
    found = list(path_length.compare(base, new))
    text = words.text(base, new, found, 0.001)
    assert "cannot tell: 0 of 1 cases are more than 0.10% longer" in text
    assert "(1 cannot be told: the boots of one kernel differ too much)" in text


def test_the_functions_that_made_the_difference_come_first() -> None:
    before = {"get.isra.0": 400.0, "put_noprof": 200.0, "same": 100.0}
    base = side("base", 700, 700, **before)
    new = side("new", 760, 760, get=401.0, put=200.0, same=100.0, extra=59.0)
    (found,) = path_length.compare(base, new)
    assert found.functions is not None
    parts = [(f.name, f.base.instructions, f.new.instructions) for f in found.functions.parts]
    assert parts == [("extra", 0.0, 59.0), ("get", 400.0, 401.0)]
    text = words.text(base, new, [found], 0.001)
    assert text.index(" extra ") < text.index(" get ")
    assert "regression: 1 of 1 cases are more than 0.10% longer" in text
    assert max(map(len, text.splitlines())) <= 72
    heads = [line.split() for line in text.splitlines() if line.endswith("store")]
    assert heads == [["base", "new", "diff", "atomic", "load", "store"]]


def test_boots_differ_in_the_parts_of_a_function_together() -> None:
    """A function that the compiler divided is one, by whatever part of it is taken."""
    boots = [boot(700, {"get": 400.0, "get.cold": 2.0}), boot(700, {"get": 398.0, "get.cold": 7.0})]
    found = path_length.Side("base", "base", boots)
    assert path_length.differing(found, path_length.Case("pairs", 0)) == ["get (3.000)"]
    moved = [boot(700, {"get": 400.0, "get.cold": 2.0}), boot(700, {"get": 398.0, "get.cold": 4.0})]
    found = path_length.Side("base", "base", moved)
    assert path_length.differing(found, path_length.Case("pairs", 0)) == []


def test_what_the_plugin_counts_is_named_by_function() -> None:
    symbols = where.Symbols(KALLSYMS)
    (interval,) = where.read(PLUGIN, symbols.function)
    found = {name: vars(counts) for name, counts in interval.functions.items()}
    assert found == {
        "get_page": {"instructions": 100, "atomics": 10, "loads": 30, "stores": 10},
        "put_page.isra.0": {"instructions": 50, "atomics": 5, "loads": 1, "stores": 2},
        where.MODULE: {"instructions": 20, "atomics": 0, "loads": 3, "stores": 4},
        where.USER: {"instructions": 7, "atomics": 0, "loads": 0, "stores": 0},
    }
    assert interval.total().instructions == 177


def test_accesses_that_are_not_told_apart_are_absent() -> None:
    (interval,) = where.read(PLUGIN.replace("both", "unknown"), where.Symbols(KALLSYMS).function)
    assert (interval.total().loads, interval.total().stores) == (None, None)


@pytest.mark.parametrize("text", ["", "0000000000000000 T _text\n", "ffffffff81000000 T x [mod]"])
def test_hidden_symbols_are_told(text: str) -> None:
    with pytest.raises(TargetError, match="names no function"):
        where.Symbols(text)


def test_a_line_that_is_not_the_plugins_is_told() -> None:
    with pytest.raises(TargetError, match="line 2"):
        where.read("interval 0\nblock nonsense\n", str)


def test_a_fragment_has_what_a_configuration_lacks() -> None:
    needs = (*kconfig.NEEDED, *kconfig.SERIAL)
    whole = {need.symbol: "y" for need in needs}
    assert kconfig.lacking(whole, "amd64", needs) == []
    poor = copy.copy(whole) | {"MODULES": "n", "SERIAL_8250": "m"}
    lacking = kconfig.lacking(poor, "amd64", needs)
    fragment = kconfig.fragment(lacking)
    assert "CONFIG_MODULES=y" in fragment
    assert "CONFIG_SERIAL_8250=y" in fragment
    merged = kconfig.read("# CONFIG_MODULES is not set\n" + fragment)
    assert kconfig.lacking(whole | merged, "amd64", needs) == []


def kernels(*names: str) -> list[path_length.Side]:
    """Sides of the recorded boots: 6.1 under odd names, 6.12 under even ones."""
    data = Path(__file__).parents[1] / "data/counted"
    found = []
    for number, name in enumerate(names):
        paths = sorted((data / ("6.1", "6.12")[number % 2]).iterdir())
        boots = [json.loads(gzip.decompress(path.read_bytes())) for path in paths]
        found.append(path_length.Side(f"side{number}", f"{name}.0 ({name} of the list)", boots))
    return found


def test_several_kernels_make_a_table_and_who_grew() -> None:
    found = releases.gather(kernels("5.10", "6.1", "6.12"))
    text = releases.markdown(found)
    assert "| pattern | order | 5.10 | 6.1 | 6.12 | 6.12 against 5.10 |" in text
    assert "| pairs | 0 | 714.1 | 861.3 | 714.1 | +0.0% |" in text
    assert "| pairs | 4 | 1,642.8 | 1,366.8 | 1,642.8 | +0.0% |" in text
    assert "- pairs at order 0, 5.10 → 6.1, +147.2: `__rmqueue_pcplist` +72.0" in text
    assert "differ by 0.0046 % at most (antagonist at order 0, 6.12), and by 0.00067 %" in text
    assert "Left out" not in text


def test_what_a_kernel_does_not_have_is_left_out_and_said() -> None:
    sides = kernels("5.10", "6.1")
    for document in sides[0].results:
        run = document["run"]
        run["exact"]["cases"] = [c for c in run["exact"]["cases"] if c["pattern"] != "bursts"]
    found = releases.gather(sides)
    assert {case.pattern for case in found.cases} == {"antagonist", "pairs"}
    text = releases.text(found)
    assert "Left out: 5.10.0 (5.10 of the list) has no bursts at order 0." in text
    assert "| bursts" not in text


def test_the_picture_has_a_line_for_each_order(tmp_path: Path) -> None:
    drawn.save(releases.gather(kernels("5.10", "6.1", "6.12", "7.3")), tmp_path / "costs.svg")
    text = (tmp_path / "costs.svg").read_text()
    for word in ("antagonist", "bursts", "pairs", "5.10", "7.3", "order 0", "order 4"):
        assert f">{word}<" in text

# SPDX-License-Identifier: GPL-2.0-only
"""A campaign by time: its order, its journal, when it stops, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import campaigns
from campaigns import Kernel, around
from page_alloc_bench import jsonl
from page_alloc_bench.analysis.compare import RefusedError
from page_alloc_bench.campaign.journal import CampaignError, Journal
from page_alloc_bench.campaign.timed import plan
from page_alloc_bench.cli import main
from page_alloc_bench.targets.outcome import End, Outcome, how_it_ended, oops

PANIC = Outcome("panic", reason="Kernel panic - not syncing: no\nmore", console="Kernel panic")


def alike() -> tuple[Kernel, Kernel]:
    return Kernel("base", around(1, 1)), Kernel("new", around(1, 2))


def attempts(directory: Path) -> list[dict[str, Any]]:
    return jsonl.read(directory / "attempts.jsonl")


def failing(*numbers: int, end: Outcome = PANIC) -> Callable[[int], Outcome | None]:
    return lambda number: end if number in numbers else None


def test_each_block_of_four_has_two_boots_of_each_side_in_an_order_by_chance() -> None:
    order = plan.schedule(20, 7)
    blocks = [tuple(order[at : at + 4]) for at in range(0, 40, 4)]
    assert all(Counter(block) == {"base": 2, "new": 2} for block in blocks)
    assert len(set(blocks)) > 2
    assert order == plan.schedule(20, 7) != plan.schedule(20, 8)


def test_the_plan_is_there_before_the_first_boot_and_stays(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def look(_number: int) -> None:
        seen.append((tmp_path / "plan.json").read_bytes())

    base, new = alike()
    base.ends = look
    campaigns.run(tmp_path, base, new)
    written = json.loads(seen[0])
    assert written["looks"] == [6, 8, 10, 13, 16, 20]
    assert len(written["schedule"]) == 40
    assert {*seen, (tmp_path / "plan.json").read_bytes()} == {seen[0]}


def test_another_campaign_is_refused(tmp_path: Path) -> None:
    plan.begin(Journal(tmp_path), campaigns.asked(), most=20, seed=1)
    with pytest.raises(CampaignError, match="with other confidence"):
        plan.begin(Journal(tmp_path), campaigns.asked(confidence=0.9), most=20, seed=None)


def test_a_line_that_is_no_attempt_is_told(tmp_path: Path) -> None:
    ending, _ = campaigns.run(tmp_path, *alike())
    assert ending
    with (tmp_path / "attempts.jsonl").open("a") as journal:
        journal.write('{"side": "base"}\n')
    with pytest.raises(CampaignError, match=r"attempts\.jsonl has a line that is not an attempt"):
        Journal(tmp_path).results("base")


def test_no_change_is_shown_early(tmp_path: Path) -> None:
    ending, told = campaigns.run(tmp_path, *alike())
    assert ending.why == "no regression"
    assert campaigns.code(tmp_path, ending) == 0
    assert len(attempts(tmp_path)) <= 20
    assert any("look after 6 boots a side" in line for line in told)


def test_a_regression_ends_it(tmp_path: Path) -> None:
    ending, _ = campaigns.run(tmp_path, alike()[0], Kernel("new", around(0.95, 2)))
    assert ending.why == "regression"
    assert campaigns.code(tmp_path, ending) == 1
    assert "Regression of 2 % or more" in (tmp_path / "verdict.txt").read_text()
    assert len(attempts(tmp_path)) <= 26


def test_noise_beyond_hope_ends_it_and_says_how_many_boots_it_would_take(tmp_path: Path) -> None:
    noisy = [Kernel(name, around(1, seed, 0.1)) for seed, name in enumerate(("base", "new"))]
    ending, _ = campaigns.run(tmp_path, *noisy)
    assert ending.why == "futile"
    assert campaigns.code(tmp_path, ending) == 2
    assert "boots a side" in (tmp_path / "verdict.txt").read_text()
    assert len(attempts(tmp_path)) <= 20


def test_boots_that_are_too_few_for_all_figures_are_told_with_how_many_it_takes(
    tmp_path: Path,
) -> None:
    """Two figures share 5 %; the least p of four and four boots is 1 in 35."""
    ending, _ = campaigns.run(tmp_path, alike()[0], Kernel("new", around(0.5, 2)), most=4)
    assert campaigns.code(tmp_path, ending) == 2
    text = " ".join((tmp_path / "verdict.txt").read_text().split())
    assert "4 and 4 boots, are too few for an interval (2 figures need 5 a side)" in text


def killed_at(boot: int, directory: Path) -> None:
    """Run a campaign in a child that is killed in the middle of a boot."""
    child = os.fork()
    if child == 0:
        base, new = alike()

        def end(_number: int) -> None:
            if base.booted + new.booted == boot:
                os.kill(os.getpid(), signal.SIGKILL)

        base.ends = new.ends = end
        campaigns.run(directory, base, new)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_kill_9_loses_the_boot_in_progress_only(tmp_path: Path) -> None:
    killed_at(6, tmp_path)
    before = attempts(tmp_path)
    assert len(before) == 5
    base, new = alike()
    ending, _ = campaigns.run(tmp_path, base, new)
    assert ending.why == "no regression"
    after = attempts(tmp_path)
    assert after[:5] == before
    assert base.booted + new.booted == len(after) - 5
    order = json.loads((tmp_path / "plan.json").read_text())["schedule"]
    assert [each["side"] for each in after] == order[: len(after)]


@pytest.mark.parametrize("state", ["line cut off", "result without its line", "look missing"])
def test_it_goes_on_from_whatever_a_kill_left(tmp_path: Path, state: str) -> None:
    campaigns.run(tmp_path, *alike())
    made = attempts(tmp_path)
    text = (tmp_path / "attempts.jsonl").read_text()
    *others, last = text.splitlines(keepends=True)
    if state == "line cut off":
        (tmp_path / "attempts.jsonl").write_text("".join([*others, last[: len(last) // 2]]))
    if state == "result without its line":
        (tmp_path / "attempts.jsonl").write_text("".join(others))
    (tmp_path / "looks.jsonl").unlink()
    base, new = alike()
    ending, _ = campaigns.run(tmp_path, base, new)
    assert base.booted + new.booted == (0 if state == "look missing" else 1)
    assert (ending.why, len(attempts(tmp_path))) == ("no regression", len(made))


def test_an_ended_campaign_boots_nothing_more(tmp_path: Path) -> None:
    campaigns.run(tmp_path, *alike())
    base, new = alike()
    ending, _ = campaigns.run(tmp_path, base, new)
    assert (base.booted, new.booted, ending.why) == (0, 0, "no regression")


def test_what_says_nothing_of_a_kernel_is_made_again_and_kept_apart(tmp_path: Path) -> None:
    busy = Outcome("aside", campaigns.result(0.5), reason="the guest waited for a CPU")
    base, new = alike()
    base.ends = failing(2, 3, end=busy)
    ending, _ = campaigns.run(tmp_path, base, new)
    assert ending.why == "no regression"
    assert len(list((tmp_path / "aside").iterdir())) == 2
    healthy = {a["file"] for a in attempts(tmp_path) if a["end"] == "ok" and a["side"] == "base"}
    assert {f"base/{path.name}" for path in (tmp_path / "base").iterdir()} == healthy


def test_three_in_a_row_end_it_and_the_next_call_tries_again(tmp_path: Path) -> None:
    trouble = Outcome("infra", reason="QEMU ended (killed by signal 9)")
    base, new = alike()
    new.ends = failing(2, 3, 4, end=trouble)
    ending, _ = campaigns.run(tmp_path, base, new)
    assert campaigns.code(tmp_path, ending) == 5
    assert new.booted == 4
    ending, _ = campaigns.run(tmp_path, base, new)
    assert ending.why == "no regression"


def test_a_new_kernel_that_crashes_ends_it_after_the_block(tmp_path: Path) -> None:
    base, new = alike()
    new.ends = failing(1)
    ending, _ = campaigns.run(tmp_path, base, new)
    assert (ending.why, len(attempts(tmp_path))) == ("new fails", 4)
    assert campaigns.code(tmp_path, ending) == 4
    text = (tmp_path / "verdict.txt").read_text()
    assert "new 1 of 2 (1 panic)" in text
    assert "Kernel panic - not syncing: no" in text


def test_with_keep_going_a_crash_stands_beside_the_verdict_which_is_never_good(
    tmp_path: Path,
) -> None:
    base, new = alike()
    new.ends = failing(2, 5)
    ending, _ = campaigns.run(tmp_path, base, new, keep_going=True)
    assert ending.why == "no regression"
    assert campaigns.code(tmp_path, ending) == 4
    assert "(2 panic)" in (tmp_path / "verdict.txt").read_text()


def test_crashes_of_both_kernels_count_and_do_not_end_it(tmp_path: Path) -> None:
    base, new = alike()
    base.ends, new.ends = failing(1), failing(3)
    ending, _ = campaigns.run(tmp_path, base, new)
    assert campaigns.code(tmp_path, ending) == 0
    assert "base 5 of 6 (1 panic), new 5 of 6 (1 panic)" in (tmp_path / "verdict.txt").read_text()


@pytest.mark.parametrize(
    ("side", "end", "expected"),
    [("base", "panic", 5), ("new", "boot-timeout", 4), ("new", "run-failed", 4),
     ("new", "refused", 3), ("base", "refused", 3), ("new", "wrong-kernel", 3)],
)  # fmt: skip
def test_a_kernel_that_never_works_ends_it(
    tmp_path: Path, side: str, end: End, expected: int
) -> None:
    base, new = alike()
    (base if side == "base" else new).ends = lambda _number: Outcome(end, reason="so it is")
    ending, _ = campaigns.run(tmp_path, base, new)
    assert len(attempts(tmp_path)) == 4
    assert campaigns.code(tmp_path, ending) == expected


@pytest.mark.parametrize(("end", "expected"), [("wrong-kernel", 3), ("refused", 3), ("panic", 4)])
def test_a_budget_that_is_over_before_a_kernel_worked_says_why(
    tmp_path: Path, end: End, expected: int
) -> None:
    seconds = iter(range(0, 10_000, 10))
    base, new = alike()
    new.ends = lambda _number: Outcome(end, reason="so it is")
    ending, _ = campaigns.run(tmp_path, base, new, budget_s=60, clock=lambda: next(seconds))
    assert ending.why == "budget"
    assert len(attempts(tmp_path)) < 4
    assert campaigns.code(tmp_path, ending) == expected


def test_sides_that_must_not_be_compared_are_told_after_the_first_block(tmp_path: Path) -> None:
    base, new = alike()

    def other(_number: int) -> Outcome:
        document = campaigns.result(1)
        document["run"]["parameters"]["held"] = 7
        return Outcome("ok", document)

    new.ends = other
    with pytest.raises(RefusedError, match=r"parameters\.held"):
        campaigns.run(tmp_path, base, new)
    assert len(attempts(tmp_path)) == 4


def test_a_budget_ends_a_call_and_the_next_goes_on(tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 10
        return now[0]

    base, new = alike()
    ending, told = campaigns.run(tmp_path, base, new, budget_s=150, clock=clock)
    assert ending.why == "budget"
    assert campaigns.code(tmp_path, ending) == 2
    assert 2 < len(attempts(tmp_path)) < 12
    assert any("left" in line for line in told)
    assert campaigns.run(tmp_path, base, new)[0].why == "no regression"


def test_the_verdict_is_kept_in_three_files_for_people_and_programs(tmp_path: Path) -> None:
    ending, _ = campaigns.run(tmp_path, *alike())
    assert campaigns.code(tmp_path, ending) == 0
    text = (tmp_path / "verdict.txt").read_text()
    assert max(map(len, text.splitlines())) <= 72
    assert "base against itself" in text
    assert "again: page-alloc-bench ab" in text
    assert "**page-alloc-bench ab: no regression**" in (tmp_path / "verdict.md").read_text()
    kept = json.loads((tmp_path / "verdict.json").read_text())
    assert (kept["verdict"], kept["exit_code"]) == ("no regression", 0)
    assert kept["comparison"]["look"]["made"] == [each["made"] for each in kept["looks"]]


def test_other_commands_take_the_directory_as_it_is(tmp_path: Path) -> None:
    ending, _ = campaigns.run(tmp_path, alike()[0], Kernel("new", around(0.95, 2)))
    expected = campaigns.code(tmp_path, ending)
    compared = CliRunner().invoke(main, ["compare", str(tmp_path), "--format", "json"])
    assert compared.exit_code == expected == 1
    of_campaign = json.loads((tmp_path / "verdict.json").read_text())["comparison"]
    again = json.loads(compared.stdout)
    assert again["rows"] == of_campaign["rows"]
    counted = "SELECT count(*) FROM runs"
    asked = CliRunner().invoke(main, ["query", counted, str(tmp_path), "--format", "csv"])
    assert asked.stdout.split()[-1] == str(len(attempts(tmp_path)))
    page = tmp_path / "report.html"
    assert CliRunner().invoke(main, ["report", str(tmp_path), "-o", str(page)]).exit_code == 0
    assert "Regression of 2 % or more" in page.read_text()


def test_a_result_that_no_attempt_names_does_not_count(tmp_path: Path) -> None:
    campaigns.run(tmp_path, *alike())
    shutil.copy(tmp_path / "base/0001.json", tmp_path / "base/0099.json")
    compared = CliRunner().invoke(main, ["compare", str(tmp_path), "--format", "json"])
    assert compared.exit_code == 0
    assert not any(path.endswith("0099.json") for path in json.loads(compared.stdout)["base"])


@pytest.mark.parametrize(
    ("console", "ready", "status", "expected"),
    [
        ("Kernel panic - not syncing: x", False, 0, "panic"),
        ("Kernel panic - not syncing: x", True, None, "panic"),
        ("BUG: kernel NULL pointer dereference", False, None, "oops-at-boot"),
        ("Oops: 0000 [#1]", True, None, "oops-in-run"),
        ("", False, None, "boot-timeout"),
        ("Linux version 6.1", True, None, "hang-in-run"),
        ("Linux version 6.1", False, 0, "panic"),
        ("", True, -9, "infra"),
        ("", False, 1, "infra"),
    ],
)
def test_how_a_guest_ended_has_a_name(
    console: str, ready: bool, status: int | None, expected: str
) -> None:
    assert how_it_ended(console, ready=ready, status=status) == expected


def test_an_oops_in_the_log_is_of_the_boot_or_of_the_run() -> None:
    ours = "[ 2.0] page_alloc_bench: loading out-of-tree module taints kernel."
    bad = "[ 3.0] BUG: sleeping function called from invalid context"
    assert oops(f"{bad}\n{ours}\n") == ("oops-at-boot", bad)
    assert oops(f"{ours}\n{bad}\nmore") == ("oops-in-run", bad)
    assert oops("[ 1.0] DEBUG: fine\n") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--base", "6.1"], "give --new"),
        (["--base", "6.1", "--new", "6.1", "--new", "6.12"], "give --new once, or --exact"),
        (["--base", "6.1", "--new", "6.1", "--aa"], "leave out --new"),
        (["--base", "6.1", "--aa", "--cmdline-new", "x=1"], "leave out --new and --cmdline-new"),
        (["--base", "6.1", "--aa", "--budget", "soon"], "such as 90s, 30m or 2h"),
        (["--base", "6.1", "--aa", "--max-boots", "3"], "4<=x<=100"),
        (["--exact", "--base", "6.1", "--new", "6.1", "--budget", "2h"], "--exact has no --budget"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["ab", *words])
    assert (done.exit_code, said in done.output) == (3, True), done.output

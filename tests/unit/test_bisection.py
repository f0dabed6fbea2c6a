# SPDX-License-Identifier: GPL-2.0-only
"""How a bisection goes, on real histories; how a kernel is judged is made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from git_tree import commit, git, repository
from page_alloc_bench.campaign import bisection
from page_alloc_bench.campaign.bisection import BAD, GOOD, SKIP, Found, Outcome, Steps
from page_alloc_bench.campaign.build_cache import Built, NotBuilt
from page_alloc_bench.campaign.revisions import Commit, Repository
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets.process import TargetError, UsageError

COMMITS = 16


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line of commits 0 to 16, and from 5 a branch of three that 11 merges."""
    tree = repository(tmp_path_factory.mktemp("tree") / "linux")
    for number in range(COMMITS + 1):
        if number == 11:
            git(tree, "checkout", "-q", "-b", "topic", git(tree, "rev-parse", "HEAD~5"))
            for name in "abc":
                commit(tree, f"topic {name}", **{f"{name}_c": "x\n"})
            git(tree, "checkout", "-q", "main")
            git(tree, "merge", "-q", "--no-edit", "-m", "11", "topic")
        else:
            commit(tree, str(number), file_c=f"{number}\n")
    git(tree, "checkout", "-q", "-b", "line", git(tree, "rev-list", "--max-parents=0", "HEAD"))
    for number in range(1, COMMITS + 1):
        commit(tree, str(number), line_c=f"{number}\n")
    return tree


class Bisection:
    """A bisection in which the commits of CULPRIT and all that have it are slow."""

    def __init__(self, linux: Path, directory: Path, branch: str, culprit: str) -> None:
        self.tree = Repository(linux)
        first = git(linux, "rev-list", "--max-parents=0", branch)
        self.good, self.bad = self.tree.commit(first), self.tree.commit(branch)
        named = git(linux, "log", "--format=%H %s", branch).splitlines()
        self.hashes = {line.partition(" ")[2]: line.partition(" ")[0] for line in named}
        self.slow = set(git(linux, "rev-list", f"{self.hashes[culprit]}..{branch}",
                            "--ancestry-path").split())  # fmt: skip
        self.slow.add(self.hashes[culprit])
        self.directory = directory
        self.broken: set[str] = set()
        self.dead: set[str] = set()
        self.unfit: dict[str, Exception] = {}
        self.judged: list[str] = []

    def prepare(self, commit: Commit) -> Built | NotBuilt:
        if commit.subject in self.unfit:
            raise self.unfit[commit.subject]
        if commit.subject in self.broken:
            return NotBuilt(commit, "mm/page_alloc.c:1: error: expected ';'\nmore", Path("log"))
        return Built(commit, "amd64", "6.1", Path("kernel"), Path("bundle.run"))

    def step(self, good: Built, new: Built) -> Outcome:
        assert good.commit == self.good
        self.judged.append(new.commit.subject)
        if new.commit.subject in self.dead:
            return Outcome(SKIP, "it panics")
        return Outcome(BAD if new.commit.sha in self.slow else GOOD, "measured")

    def run(self, note: Callable[[str], object] = str) -> Found:
        built = self.prepare(self.good)
        assert isinstance(built, Built)
        return bisection.search(
            self.tree, built, self.bad,
            prepare=self.prepare, step=self.step, steps=Steps(self.directory), note=note,
        )  # fmt: skip


def subjects(found: Found) -> set[str]:
    return {commit.subject for commit in found.suspects}


@pytest.mark.parametrize("culprit", ["1", "2", "7", "8", "9", "15", "16"])
def test_sixteen_commits_take_five_steps_at_most(linux: Path, tmp_path: Path, culprit: str) -> None:
    case = Bisection(linux, tmp_path, "line", culprit)
    found = case.run()
    assert subjects(found) == {culprit}
    assert found.steps == len(case.judged) <= 5


@pytest.mark.parametrize("culprit", ["topic a", "topic c", "11", "8", "14"])
def test_a_commit_that_was_merged_is_found(linux: Path, tmp_path: Path, culprit: str) -> None:
    assert subjects(Bisection(linux, tmp_path, "main", culprit).run()) == {culprit}


def test_commits_that_do_not_build_or_boot_are_skipped(linux: Path, tmp_path: Path) -> None:
    case = Bisection(linux, tmp_path, "line", "12")
    case.broken, case.dead = {"8", "9"}, {"10"}
    told: list[str] = []
    assert subjects(case.run(told.append)) == {"12"}
    assert not case.broken & set(case.judged)
    assert any("skip: it does not build: mm/page_alloc.c:1: error: expected ';'" in t for t in told)


@pytest.mark.parametrize(
    "error",
    [
        PackagerError("the module does not compile\nmore", "try another"),
        UsageError("it could not be booted: it lacks CONFIG_MODULES\nmore"),
    ],
)
def test_a_commit_that_our_module_or_a_guest_does_not_fit_is_skipped(
    linux: Path, tmp_path: Path, error: Exception
) -> None:
    case = Bisection(linux, tmp_path, "line", "12")
    case.unfit = {"8": error, "10": error}
    told: list[str] = []
    assert subjects(case.run(told.append)) == {"12"}
    first = str(error).splitlines()[0]
    assert any(f"skip: it cannot be measured: {first}" in line for line in told)
    # Which commit git tries after one that is skipped follows from their names, so from the time.
    kept = [each.why for each in Steps(tmp_path).read().values() if each.verdict == SKIP]
    assert kept
    assert set(kept) == {f"it cannot be measured: {first}"}


def test_a_host_that_cannot_build_is_no_step(linux: Path, tmp_path: Path) -> None:
    case = Bisection(linux, tmp_path, "line", "12")
    case.unfit = {"8": TargetError("the disk is full")}
    with pytest.raises(TargetError, match="disk is full"):
        case.run()
    assert Steps(tmp_path).read() == {}


def test_where_skipped_commits_hide_it_all_that_are_left_are_named(
    linux: Path, tmp_path: Path
) -> None:
    case = Bisection(linux, tmp_path, "line", "9")
    case.broken = {"8", "9", "10"}
    assert subjects(case.run()) == {"8", "9", "10", "11"}


def test_it_goes_on_where_it_stopped(linux: Path, tmp_path: Path) -> None:
    case = Bisection(linux, tmp_path, "line", "5")
    whole = case.run()
    steps = tmp_path / "steps.jsonl"
    lines = steps.read_text().splitlines(keepends=True)
    again = Bisection(linux, tmp_path, "line", "5")
    assert again.run() == whole
    assert again.judged == []
    # As kill -9 leaves it.
    steps.write_text("".join(lines[:2]) + lines[2][:20])
    again = Bisection(linux, tmp_path, "line", "5")
    assert again.run() == whole
    assert again.judged == case.judged[2:]
    assert [json.loads(line)["verdict"] for line in lines] == [
        Steps(tmp_path).read()[json.loads(line)["commit"]].verdict for line in lines
    ]


def test_a_wrong_step_is_taken_again_without_its_line(linux: Path, tmp_path: Path) -> None:
    case = Bisection(linux, tmp_path, "line", "5")
    case.run()
    steps = tmp_path / "steps.jsonl"
    first = json.loads(steps.read_text().splitlines()[0])
    wrong = {**first, "verdict": GOOD if first["verdict"] == BAD else BAD}
    steps.write_text(json.dumps(wrong) + "\n")
    assert subjects(Bisection(linux, tmp_path, "line", "5").run()) != {"5"}
    steps.write_text("")
    assert subjects(Bisection(linux, tmp_path, "line", "5").run()) == {"5"}

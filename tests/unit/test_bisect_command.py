# SPDX-License-Identifier: GPL-2.0-only
"""bisect from the command line: real histories, kernels that nobody builds or boots."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import campaigns
from git_tree import commit, git, repository
from page_alloc_bench import jsonl
from page_alloc_bench.campaign.build_cache import Built, NotBuilt
from page_alloc_bench.campaign.kernel_build import Builder
from page_alloc_bench.campaign.revisions import Commit
from page_alloc_bench.cli import main
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets import exact, timed
from page_alloc_bench.targets.outcome import Outcome
from page_alloc_bench.targets.process import TargetError, UsageError

COMMITS = 8
ALLOCS = 10_000
PANIC = Outcome("panic", reason="Kernel panic - not syncing: no", console="Kernel panic")
INFRA = Outcome("infra", reason="QEMU has crashed")


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line of commits 0 to 8."""
    tree = repository(tmp_path_factory.mktemp("tree") / "linux")
    for number in range(COMMITS + 1):
        commit(tree, str(number), file_c=f"{number}\n")
    return tree


class Kernels:
    """Kernels of the history; memory: what each has, by its number, 1 being as usual."""

    def __init__(self, linux: Path, directory: Path) -> None:
        self.linux, self.directory = linux, directory
        self.memory: Callable[[int], float] = lambda _number: 1.0
        self.spread: Callable[[int], float] = lambda _number: campaigns.SPREAD
        self.pause_s = 0.0
        self.ends: dict[int, Outcome] = {}
        self.broken: set[int] = set()
        self.unfit: Callable[[int, int], Exception | None] = lambda _number, _build: None
        self.built: Counter[int] = Counter()
        self.unsteady: set[int] = set()
        self.booted: Counter[int] = Counter()
        self.cmdlines: set[str] = set()
        self._boots: dict[int, Iterator[float]] = {}

    def build(self, of: Commit) -> Built | NotBuilt:
        self.built[int(of.subject)] += 1
        error = self.unfit(int(of.subject), self.built[int(of.subject)])
        if error is not None:
            raise error
        if int(of.subject) in self.broken:
            return NotBuilt(of, "mm/page_alloc.c:1: error: expected ';'", Path("log"))
        return Built(of, "amd64", "6.1", self.directory / of.subject, Path("bundle.run"))

    def measure(
        self, _bundle: Path, image: Path, *_: Any, cmdline_extra: str, **__: Any
    ) -> Outcome:
        number = int(image.parent.name)
        time.sleep(self.pause_s)
        self.booted[number] += 1
        self.cmdlines.add(cmdline_extra)
        around = campaigns.around(self.memory(number), number, self.spread(number))
        boots = self._boots.setdefault(number, around)
        return self.ends.get(number) or Outcome("ok", campaigns.result(next(boots)))

    def count(self, _bundle: Path, image: Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Count as many instructions for a pair as the kernel has less memory."""
        number = int(image.parent.name)
        self.booted[number] += 1
        if number in self.ends:
            raise TargetError(self.ends[number].reason)
        total = round(500 / self.memory(number)) * ALLOCS
        total += (number in self.unsteady) * self.booted[number] * 10 * ALLOCS
        case = {"pattern": "pairs", "order": 0}
        counts = {"instructions": total, "atomics": 0, "loads": None, "stores": None}
        function = {"name": "get_page_from_freelist", **counts}
        where = {**case, "operations": ALLOCS, "total": counts, "functions": [function]}
        cases = [{**case, "instructions": total, "allocs": ALLOCS}]
        return {"run": {"exact": {"cases": cases}, "where": [where]}}

    def sha(self, number: int) -> str:
        return git(self.linux, "rev-parse", f"main~{COMMITS - number}")

    def bisect(self, words: str = "") -> Result:
        given = ["--tree", str(self.linux), "--dir", str(self.directory / "kept")]
        given += [] if "--exact" in words else ["--accel", "tcg"]
        first, last = self.sha(0), self.sha(COMMITS)
        return CliRunner().invoke(main, ["bisect", first, last, *given, *shlex.split(words)])

    def steps(self) -> list[dict[str, Any]]:
        path = self.directory / "kept/steps.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def plans(self) -> dict[str, dict[str, Any]]:
        found = (self.directory / "kept").glob("steps/*/plan.json")
        return {path.parent.name: json.loads(path.read_text()) for path in found}


@pytest.fixture
def kernels(linux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernels:
    made = Kernels(linux, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Builder, "build", made.build)
    monkeypatch.setattr(Builder, "config", lambda _builder, _of: "CONFIG_SMP=y\n")
    monkeypatch.setattr(timed, "measure", made.measure)
    monkeypatch.setattr(exact, "measure", made.count)
    return made


def less_from(culprit: int, part: float = 0.05) -> Callable[[int], float]:
    return lambda number: 1 - part if number >= culprit else 1.0


def test_the_commit_is_found_and_named(kernels: Kernels) -> None:
    kernels.memory = less_from(4)
    done = kernels.bisect("--cmdline quiet")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{kernels.sha(4)} is the first bad commit, after 3 steps\n")
    assert "followed: " in done.stdout
    assert "available_bytes_order0" in done.stdout
    assert "Regression of" in done.stdout
    assert "confidence of all 4 comparisons together: at least 95.0%" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert kernels.cmdlines == {"quiet"}
    kept = kernels.directory / "kept"
    assert (kept / "verdict.txt").read_text() == done.stdout
    assert json.loads((kept / "verdict.json").read_text())["suspects"] == [kernels.sha(4)]
    # GOOD against BAD, and each step, have a quarter of the permitted error.
    assert {each["confidence"] for each in kernels.plans().values()} == {1 - (1 - 0.95) / 4}
    # What is followed is one figure, whose limit is the middle between GOOD and BAD.
    first = kernels.plans().pop(kernels.sha(COMMITS))
    assert (first["metrics"], first["thresholds"].partition(",")[0]) == ([], "memory=2%")
    (limit,) = {
        plan["thresholds"] for sha, plan in kernels.plans().items() if sha != kernels.sha(COMMITS)
    }
    assert 2.2 < float(limit.partition(",")[0].removeprefix("memory=").removesuffix("%")) < 2.8


def test_the_last_commit_may_be_it(kernels: Kernels) -> None:
    kernels.memory = less_from(COMMITS)
    done = kernels.bisect()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(kernels.sha(COMMITS))
    assert "Regression of" in done.stdout


def test_what_is_lost_bit_by_bit_does_not_hide_the_commit_that_lost_most(kernels: Kernels) -> None:
    """Before the culprit 2.5 % are gone, which alone would be a regression; then 9 %."""
    kernels.memory = lambda number: 0.91 if number >= 6 else 0.975 if number >= 2 else 1.0
    done = kernels.bisect()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(kernels.sha(6))


def test_the_same_command_boots_nothing_twice(kernels: Kernels) -> None:
    kernels.memory = less_from(4)
    kernels.pause_s = 0.2
    done = kernels.bisect("--budget 1s")
    assert (done.exit_code, done.stdout, kernels.steps()) == (2, "", []), done.output
    assert sum(kernels.booted.values()) <= 5
    assert "the time of --budget is over; the same command goes on" in done.stderr
    kernels.pause_s = 0.0
    done = kernels.bisect()
    assert done.exit_code == 0, done.output
    for attempts in (kernels.directory / "kept").glob("steps/*/attempts.jsonl"):
        boots = [(a["side"], a["number"]) for a in jsonl.read(attempts)]
        assert len(set(boots)) == len(boots)
    booted = kernels.booted.copy()
    again = kernels.bisect()
    assert (again.exit_code, again.stdout) == (0, done.stdout)
    assert kernels.booted == booted
    other = kernels.bisect("--threshold 3%")
    assert other.exit_code == 5
    assert "of another campaign, with other thresholds" in " ".join(other.stderr.split())


def test_without_a_difference_there_is_nothing_to_find(kernels: Kernels) -> None:
    done = kernels.bisect()
    assert done.exit_code == 1, done.output
    assert "Nothing to find" in done.stdout
    assert set(kernels.booted) == {0, COMMITS}


def test_noise_beyond_hope_is_no_answer(kernels: Kernels) -> None:
    kernels.spread = lambda _number: 0.1
    done = kernels.bisect()
    assert done.exit_code == 2, done.output
    assert "Nothing to find" not in done.stdout
    assert set(kernels.booted) == {0, COMMITS}


@pytest.mark.parametrize(
    ("number", "end", "code"), [(COMMITS, PANIC, 4), (0, PANIC, 5), (0, INFRA, 5)]
)
def test_an_end_that_does_not_survive_has_the_exit_code_of_its_side(
    kernels: Kernels, number: int, end: Outcome, code: int
) -> None:
    kernels.ends[number] = end
    done = kernels.bisect()
    assert done.exit_code == code, done.output
    assert end.reason in " ".join(done.stderr.split())


@pytest.mark.parametrize(("number", "code"), [(COMMITS, 4), (0, 5)])
def test_an_end_that_does_not_build_is_told(kernels: Kernels, number: int, code: int) -> None:
    kernels.broken = {number}
    done = kernels.bisect()
    assert done.exit_code == code, done.output
    assert "does not build: mm/page_alloc.c:1" in done.stderr
    assert not kernels.booted


def test_commits_that_do_not_build_or_survive_are_skipped(kernels: Kernels) -> None:
    kernels.memory = less_from(4)
    kernels.broken, kernels.ends = {4}, {5: PANIC}
    done = kernels.bisect()
    assert done.exit_code == 2, done.output
    assert all(f"({number})" not in done.stdout for number in (3, 7))
    named = [number for number in range(COMMITS + 1) if kernels.sha(number)[:12] in done.stdout]
    assert named == [4, 5, 6]
    told = {step["subject"]: step["why"] for step in kernels.steps()}
    assert "does not build" in told["4"]
    assert "Kernel panic" in told["5"]


def test_a_commit_that_cannot_be_told_in_all_its_boots_is_skipped(kernels: Kernels) -> None:
    kernels.memory = less_from(6)
    kernels.spread = lambda number: 0.2 if number == 4 else campaigns.SPREAD
    done = kernels.bisect()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(kernels.sha(6))
    assert {step["subject"]: step["verdict"] for step in kernels.steps()}["4"] == "skip"


def test_trouble_here_is_no_step(kernels: Kernels) -> None:
    kernels.memory = less_from(4)
    kernels.ends[4] = INFRA
    done = kernels.bisect()
    assert done.exit_code == 5, done.output
    assert "QEMU has crashed" in done.stderr
    assert "4" not in {step["subject"] for step in kernels.steps()}
    kernels.ends.clear()
    done = kernels.bisect()
    assert (done.exit_code, done.stdout[:40]) == (0, kernels.sha(4)), done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--exact --budget 2h", "--exact has no --budget"),
        ("--exact --max-boots 8", "--exact has no --max-boots"),
        ("--exact --metric a --metric b", "follows one figure"),
        ("--metric absent", "no metric in common matches absent"),
        ("--threshold speed=2%", "there is no kind of figure 'speed'"),
        ("--max-boots 3", "4<=x<=100"),
    ],
)
def test_what_makes_no_sense_is_refused(kernels: Kernels, words: str, said: str) -> None:
    done = kernels.bisect(words)
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (3, True), done.output


def test_a_figure_that_is_asked_for_is_followed(kernels: Kernels) -> None:
    kernels.memory = less_from(3)
    done = kernels.bisect("--metric idle_available_bytes --confidence 90%")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(kernels.sha(3))
    assert "followed: idle_available_bytes_order0" in done.stdout
    assert {plan["confidence"] for plan in kernels.plans().values()} == {1 - (1 - 0.9) / 4}


def test_by_instructions_the_commit_is_found_with_what_it_changed(kernels: Kernels) -> None:
    kernels.memory = less_from(5)
    kernels.broken = {4}
    done = kernels.bisect("--exact")
    assert done.exit_code == 2, done.output
    assert kernels.sha(4)[:12] in done.stdout
    kernels.broken, kernels.memory = set(), less_from(5)
    (kernels.directory / "kept/steps.jsonl").unlink()
    done = kernels.bisect("--exact")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{kernels.sha(5)} is the first bad commit")
    assert "get_page_from_freelist" in done.stdout
    assert "+5.2" in done.stdout
    # GOOD and BAD, and each commit once: twice.
    assert set(kernels.booted.values()) == {2}
    document = json.loads((kernels.directory / "kept/verdict.json").read_text())
    assert document["change"]["verdict"] == "regression"


@pytest.mark.parametrize(("number", "code"), [(COMMITS, 4), (0, 5)])
def test_by_instructions_an_end_that_does_not_survive_is_told(
    kernels: Kernels, number: int, code: int
) -> None:
    kernels.ends[number] = PANIC
    done = kernels.bisect("--exact")
    assert done.exit_code == code, done.output
    assert "Kernel panic" in done.stderr


@pytest.mark.parametrize(
    "error",
    [PackagerError("the module does not compile"), UsageError("no"), TargetError("disk full")],
)
def test_the_found_commit_is_told_though_what_it_changed_cannot_be(
    kernels: Kernels, error: Exception
) -> None:
    """Its parent was built, and cannot be again."""
    kernels.memory = less_from(5)
    kernels.unfit = lambda number, build: error if number == 4 and build > 1 else None
    done = kernels.bisect("--exact")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{kernels.sha(5)} is the first bad commit, after 3 steps\n")
    kept = kernels.directory / "kept"
    assert (kept / "verdict.txt").read_text() == done.stdout
    assert json.loads((kept / "verdict.json").read_text())["suspects"] == [kernels.sha(5)]
    assert f"what it changed cannot be measured: {error}" in " ".join(done.stderr.split())


def test_the_found_commit_is_kept_before_what_it_changed_is_measured(kernels: Kernels) -> None:
    kernels.memory = less_from(5)
    seen = []

    def unfit(number: int, build: int) -> None:
        if number == 4 and build > 1:
            seen.append((kernels.directory / "kept/verdict.txt").read_text())

    kernels.unfit = unfit
    done = kernels.bisect("--exact")
    assert len(seen) == 1
    assert seen[0].startswith(f"{kernels.sha(5)} is the first bad commit")
    assert done.stdout.startswith(seen[0])
    assert len(done.stdout) > len(seen[0])


def test_by_instructions_what_cannot_be_told_is_not_called_nothing(kernels: Kernels) -> None:
    """Boots of BAD that differ by more than the threshold, around it."""
    kernels.unsteady = {COMMITS}
    done = kernels.bisect("--exact")
    assert done.exit_code == 2, done.output
    assert "Nothing to find" not in done.stdout


def test_a_confidence_is_never_rounded_up(kernels: Kernels) -> None:
    kernels.memory = less_from(4, 0.2)
    done = kernels.bisect("--confidence 99.96% --metric idle_available_bytes --max-boots 40")
    assert done.exit_code == 0, done.output
    assert "comparisons together: at least 99.9%" in done.stdout


def test_without_a_directory_nothing_is_said_to_go_on(kernels: Kernels) -> None:
    kernels.memory, kernels.pause_s = less_from(4), 0.2
    first, last = kernels.sha(0), kernels.sha(COMMITS)
    words = ["--tree", str(kernels.linux), "--accel", "tcg", "--budget", "1s"]
    done = CliRunner().invoke(main, ["bisect", first, last, *words])
    assert done.exit_code == 2, done.output
    assert "nothing is kept: with --dir the same command would go on" in done.stderr
    assert "the same command goes on" not in done.stderr


def test_by_instructions_the_same_length_is_nothing_to_find(kernels: Kernels) -> None:
    done = kernels.bisect("--exact --metric exact_pairs_instructions_per_1000_operations_order0")
    assert done.exit_code == 1, done.output
    assert "Nothing to find" in done.stdout

# SPDX-License-Identifier: GPL-2.0-only
"""scripts/bisect leads `git bisect run` to the commit that did it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import recorded

SCRIPT = recorded.TOP / "scripts/bisect"
CULPRIT = 4  # of COMMITS; the tree's file says what each commit does to the memory
COMMITS = ["1.00", "0.999", "broken", "1.001", "0.95", "0.951", "0.949"]

# What a user writes to build, boot and run a commit; here it plants what the tree says.
MEASURE = f"""#!{sys.executable}
import json, sys
from pathlib import Path
sys.path.insert(0, {str(recorded.TOP / "tests")!r})
import recorded
factor = float(Path("memory").read_text())  # fails for the commit that is broken
here = Path(sys.argv[1])
for number, result in enumerate(recorded.documents(recorded.BASE)[10:20]):
    result["run"]["kernel"]["version"] = f"#1 {{factor}}"
    (here / f"{{number}}.json").write_text(json.dumps(recorded.plant_memory(result, factor)))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    for number, factor in enumerate(COMMITS):
        (tree / "memory").write_text(factor)
        (tree / "number").write_text(str(number))
        git(tree, "add", ".")
        git(tree, "commit", "-q", "-m", f"commit {number}")
    recorded.write(tmp_path / "base", recorded.documents(recorded.BASE)[:10])
    measure = tmp_path / "measure"
    measure.write_text(MEASURE)
    measure.chmod(0o755)
    return tree


def git(tree: Path, *words: str, status: int = 0) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who = {f"GIT_{role}_{what}": "bench@example.org" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    done = subprocess.run(
        ["git", *words],
        cwd=tree,
        env={**os.environ, "PATH": path, **settings, **who},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def bisect(tree: Path, *options: str, status: int = 0) -> str:
    git(tree, "bisect", "start", "HEAD", f"HEAD~{len(COMMITS) - 1}")
    base, measure = str(tree.parent / "base"), str(tree.parent / "measure")
    return git(tree, "bisect", "run", str(SCRIPT), base, measure, *options, status=status)


# The base is measured once, before all commits.
ONCE = "--accept-order"


def test_git_bisect_finds_the_commit(tree: Path) -> None:
    said = bisect(tree, ONCE, "--metric=*_available_bytes_order0", "--threshold=2%")
    assert "is the first bad commit" in said.replace("'bad'", "bad")
    culprit = git(tree, "rev-parse", "refs/bisect/bad").strip()
    assert git(tree, "show", "-s", "--format=%s", culprit).strip() == f"commit {CULPRIT}"


def test_what_is_not_shown_to_be_worse_is_good_on_request(tree: Path) -> None:
    for commit, status in ((CULPRIT, 1), (CULPRIT - 1, 0)):
        git(tree, "checkout", "-q", f"main~{len(COMMITS) - 1 - commit}")
        assert run(tree, "--not-shown-worse") == status


def test_a_commit_that_cannot_be_measured_is_skipped(tree: Path) -> None:
    git(tree, "checkout", "-q", f"HEAD~{len(COMMITS) - 1 - COMMITS.index('broken')}")
    assert run(tree) == 125


def test_too_few_runs_skip_and_a_refusal_stops(tree: Path) -> None:
    git(tree, "checkout", "-q", "HEAD")
    measure = tree.parent / "measure"
    measure.write_text(MEASURE.replace("[10:20]", "[10:12]"))
    assert run(tree) == 125
    measure.write_text(MEASURE.replace('["kernel"]["version"] = f"#1 {factor}"',
                                       '["parameters"]["held"] = 7'))  # fmt: skip
    assert "held" in measure.read_text()
    assert run(tree) == 255


def test_a_base_that_was_measured_before_needs_a_word_for_it(tree: Path) -> None:
    git(tree, "checkout", "-q", "HEAD")
    measure, base = tree.parent / "measure", tree.parent / "base"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [SCRIPT, base, measure], cwd=tree, env={**os.environ, "PATH": path}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 125
    assert b"--accept-order" in done.stdout


def run(tree: Path, *options: str) -> int:
    """Return the script's exit code for the commit that is checked out."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [SCRIPT, tree.parent / "base", tree.parent / "measure", ONCE, *options]
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
    return done.returncode

# SPDX-License-Identifier: GPL-2.0-only
"""What people type to get rid of a run kills it, and not what cleans up after it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bundle_maker import SLEEPING_RUNNER, make_bundle, start
from page_alloc_bench.packager.interpreter import Interpreter
from waiting import eventually

CLEAN_S = 10
SLEEPER = SLEEPING_RUNNER.replace(
    "def main():",
    """def main():
    if sys.argv[1] == "--extract":
        from page_alloc_bench.runner.bundle_file import archive
        from page_alloc_bench.runner.bundle_file import verbs
        return verbs.run_verb("extract", archive.open_archive(), sys.argv[2])""",
)
EMBEDDED = {"PAGE_ALLOC_BENCH_PYTHON": "embedded"}


@pytest.fixture(scope="module")
def sleeper(own_python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that embeds its Python and sleeps."""
    path = tmp_path_factory.mktemp("sleeper") / "bench.run"
    return make_bundle(path, SLEEPER, interpreters=[own_python])


def related(top: int) -> dict[int, str]:
    """Return the command line of each process that a run has started, itself included."""
    mark = f"PAB_TEST={top}".encode()
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        is_its = mark in environment or f"pid={top}".encode() in environment
        if is_its and ") Z " not in stat:
            found[pid] = words.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


EXTRACTED = "extracted"
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "own": ([], {}),
    "sh": (["sh"], {}),
    "python": ([sys.executable], {}),
    "embedded": ([], EMBEDDED),
    "extracted, embedded": ([EXTRACTED], EMBEDDED),
}
WORDS = ["python3", "page-alloc", "-I -S -B", "--seed=1"]


@pytest.mark.parametrize(
    ("way", "typed"),
    [*((way, "bench.run") for way in WAYS), *(("embedded", word) for word in WORDS)],
)
def test_pkill_by_any_word_of_the_command_line_leaves_who_cleans_up(
    way: str, typed: str, sleeper: Path, tmp_path: Path
) -> None:
    how, environment = WAYS[way]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = sleeper
    if how == [EXTRACTED]:
        how, program = [], tmp_path / "out/run.sh"
        start([str(sleeper), "--extract", str(program.parent)])
    # What the shell puts in front knows of the run that waits for the environment to name it.
    script = f"PAB_TEST=$$ exec {' '.join([*how, str(program)])} --seed=1"
    with subprocess.Popen(
        ["sh", "-c", script],
        env={**os.environ, **environment, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline().strip()
        assert eventually(lambda: len(list(scratch.iterdir())) == 1, CLEAN_S)
        everyone = related(process.pid)
        assert len(everyone) >= 2, "somebody looks after the scratch directory"
        for pid, words in everyone.items():
            if re.search(typed, words) or re.search(typed, name(pid)) or pid == process.pid:
                os.kill(pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
        assert eventually(lambda: list(scratch.iterdir()) == [], CLEAN_S)
        assert eventually(lambda: related(process.pid) == {}, CLEAN_S)


def test_who_cleans_up_says_nothing_of_the_bundle(sleeper: Path, tmp_path: Path) -> None:
    for environment in ({}, EMBEDDED):
        with subprocess.Popen(
            ["sh", "-c", f"PAB_TEST=$$ exec {sleeper} --seed=1"],
            env={**os.environ, **environment, "PAGE_ALLOC_BENCH_TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            process.stdout.readline()
            others = {
                pid: words for pid, words in related(process.pid).items() if pid != process.pid
            }
            assert {name(pid) for pid in others if name(pid) != "sleep"} == {"pab-keeper"}
            assert not [words for words in others.values() if "bench" in words]
            process.kill()
        assert eventually(lambda: list(tmp_path.iterdir()) == [], CLEAN_S)

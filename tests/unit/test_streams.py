# SPDX-License-Identifier: GPL-2.0-only
"""What cannot be written is told in one line, with the right cause and a documented exit code.

Each verb is tried in a bundle with its real runner: on a pipe whose reader has gone, a full disk,
and closed descriptors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import page_alloc_bench
from bundle_maker import make_bundle, start
from page_alloc_bench.packager.interpreter import Interpreter

RUNNER = Path(page_alloc_bench.__file__).parent / "runner/__main__.py"
TELLING = ["--help", "-help", "--version", "--list", "--info", "--preflight", "--status"]
FULL = "cannot write to stdout: No space left on device"
CLOSED = "stdout is closed"
GONE = "cannot write to stdout: Broken pipe"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="root's verbs")


@pytest.fixture(scope="module")
def bench(own_python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the runner that travels, started by any Python."""
    path = tmp_path_factory.mktemp("bundle") / "bench.run"
    return make_bundle(path, RUNNER.read_text(), interpreters=[own_python])


def shell(bench: Path, verb: str, redirections: str) -> subprocess.CompletedProcess[str]:
    return start([
        "sh", "-c", f"exec {sys.executable} -I -S -B {bench} {verb} {redirections}"
    ])  # fmt: skip


def complaint(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.stderr.startswith("page-alloc-bench: error: ")
    assert finished.stderr.count("\n") == 1, finished.stderr
    return finished.stderr


@root_only
@pytest.mark.parametrize("verb", TELLING)
def test_stdout_that_takes_nothing_is_told(verb: str, bench: Path) -> None:
    for where, code, cause in ((">/dev/full", 1, FULL), (">&-", 2, CLOSED)):
        finished = shell(bench, verb, where)
        assert (finished.returncode, finished.stdout) == (code, "")
        assert cause in complaint(finished)


@root_only
@pytest.mark.parametrize(("where", "code"), [(">/dev/full 2>&1", 1), (">&- 2>&-", 2)])
def test_with_nowhere_to_tell_it_the_exit_code_does(where: str, code: int, bench: Path) -> None:
    finished = shell(bench, "--info", where)
    assert (finished.returncode, finished.stdout, finished.stderr) == (code, "", "")


@root_only
@pytest.mark.parametrize("verb", TELLING)
def test_a_pipe_that_nobody_reads_is_told(verb: str, bench: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", bench, verb],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == f"page-alloc-bench: error: {GONE}\n"


@root_only
@pytest.mark.parametrize(
    ("verb", "code"),
    [("--check", 0), ("--stop", 12), ("--attach", 12), ("--nonsense", 2), ("--iterations 0", 2)],
)
def test_stderr_that_takes_nothing_changes_no_exit_code(verb: str, code: int, bench: Path) -> None:
    for where in ("2>/dev/full", "<&- >&- 2>&-"):
        finished = shell(bench, verb, where)
        assert (finished.returncode, finished.stdout, finished.stderr) == (code, "", ""), where


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_extract_to_a_full_disk_names_it_and_leaves_nothing(bench: Path) -> None:
    script = f"""
        mount -t tmpfs -o size=300k tmpfs /mnt || exit 77
        {sys.executable} -I -S -B {bench} --extract /mnt/a/b
        echo "$? $(ls -A /mnt | wc -l)"
        mkdir /mnt/there
        {sys.executable} -I -S -B {bench} --extract /mnt/there
        echo "$? $(ls -A /mnt/there | wc -l)"
    """
    finished = start(["unshare", "--mount", "sh", "-c", script])
    if finished.returncode == 77 or "unshare failed" in finished.stderr:
        pytest.skip("no mounting here")
    assert finished.stdout.split() == ["1", "0", "1", "0"]
    first, second = finished.stderr.splitlines()
    assert first.startswith("page-alloc-bench: error: /mnt/a/b/")
    assert second.startswith("page-alloc-bench: error: /mnt/there/")
    assert first.endswith(": No space left on device")
    assert second.endswith(": No space left on device")

# SPDX-License-Identifier: GPL-2.0-only
"""What a killed task leaves on the disk goes with the next; nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.temporary import temporary_directory
from waiting import eventually

TASK = """
import sys
from page_alloc_bench.temporary import temporary_directory

with temporary_directory(sys.argv[1]) as made:
    (made / "part").mkdir()
    (made / "part" / "file").write_text("x")
    print(made, flush=True)
    sys.stdin.read()
"""

# Its program works until it finds a file "stop".
COMPILES = """
import sys
from page_alloc_bench.packager import process
from page_alloc_bench.temporary import temporary_directory

with temporary_directory(sys.argv[1]) as made:
    print(made, flush=True)
    script = 'until [ -e "$2/stop" ]; do mkdir -p "$1/part"; done; touch "$2/stopped"'
    process.run(["sh", "-c", script, "sh", str(made), sys.argv[1]])
"""


def started(parent: Path, code: str = TASK) -> tuple[subprocess.Popen[str], Path]:
    """Start a task that works in PARENT; return it and its directory."""
    argv = [sys.executable, "-c", code, str(parent)]
    task = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert task.stdout is not None
    made = task.stdout.readline().strip()
    assert made
    return task, Path(made)


def test_it_goes_with_its_task(tmp_path: Path) -> None:
    with temporary_directory(tmp_path) as made:
        assert made.parent == tmp_path
        assert made.stat().st_mode & 0o777 == 0o700
    assert not os.listdir(tmp_path)


def test_it_goes_with_a_task_that_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), temporary_directory(tmp_path):
        raise RuntimeError
    assert not os.listdir(tmp_path)


def test_that_of_a_killed_task_goes_with_the_next(tmp_path: Path) -> None:
    for _ in range(3):
        task, left = started(tmp_path)
        task.send_signal(signal.SIGKILL)
        task.communicate()
        assert left.exists()
    with temporary_directory(tmp_path) as made:
        assert os.listdir(tmp_path) == [made.name]
    assert not os.listdir(tmp_path)


def test_it_stays_while_a_program_of_a_killed_task_works_in_it(tmp_path: Path) -> None:
    task, left = started(tmp_path, COMPILES)
    assert eventually((left / "part").exists)
    task.send_signal(signal.SIGKILL)
    task.communicate()
    for _ in range(20):
        with temporary_directory(tmp_path):
            assert left.exists()
    (tmp_path / "stop").touch()
    assert eventually((tmp_path / "stopped").exists)

    def gone() -> bool:
        with temporary_directory(tmp_path):
            return not left.exists()

    assert eventually(gone)


def test_that_of_a_task_at_work_stays(tmp_path: Path) -> None:
    task, its = started(tmp_path)
    with temporary_directory(tmp_path):
        assert (its / "part" / "file").read_text() == "x"
    assert (its / "part" / "file").read_text() == "x"
    task.communicate("")
    assert not os.listdir(tmp_path)


def test_what_was_not_made_here_stays(tmp_path: Path) -> None:
    with temporary_directory(tmp_path) as made:
        mark = next(path.name for path in made.iterdir())
    results = tmp_path / "page-alloc-bench-results"
    results.mkdir()
    (results / "run.json").write_text("{}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / mark).touch()
    (tmp_path / "page-alloc-bench-link").symlink_to(elsewhere)
    with temporary_directory(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == [
        "elsewhere",
        "page-alloc-bench-link",
        "page-alloc-bench-results",
    ]
    assert (elsewhere / mark).exists()
    assert (results / "run.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_that_of_another_user_stays(tmp_path: Path) -> None:
    task, left = started(tmp_path)
    task.send_signal(signal.SIGKILL)
    task.communicate()
    os.chown(left, 65534, 65534)
    with temporary_directory(tmp_path):
        pass
    assert left.exists()

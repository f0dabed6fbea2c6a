# SPDX-License-Identifier: GPL-2.0-only
"""What a command has started and written goes with it, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import waiting

OWNER = """
import sys
from page_alloc_bench.targets.kept import Kept
kept = Kept("tested")
kept.start(["sh", "-c", f"echo said; sleep 1000 & echo $! >{kept.path}/child; wait"])
print(kept.path, flush=True)
sys.stdin.read()
kept.remove()
"""


def gone(pid: str) -> bool:
    """Whether there is no such process, or only what its parent has not looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def begun(owner: subprocess.Popen[str]) -> tuple[Path, list[str]]:
    """The directory, and the processes of the program and of what that has started."""
    assert owner.stdout is not None
    place = Path(owner.stdout.readline().strip())
    assert waiting.eventually(lambda: (place / "child").exists() and (place / "pid").exists())
    child = place / "child"
    assert waiting.eventually(lambda: child.read_text().strip() != "")
    assert (place / "output").read_text() == "said\n"
    return place, [(place / "pid").read_text(), child.read_text().strip()]


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_killed_owner_leaves_no_file_and_no_process() -> None:
    with start() as owner:
        place, pids = begun(owner)
        owner.kill()
    assert waiting.eventually(lambda: not place.exists())
    assert waiting.eventually(lambda: all(gone(pid) for pid in pids))


def test_an_owner_that_ends_leaves_none_either() -> None:
    with start() as owner:
        place, pids = begun(owner)
        owner.communicate("", timeout=60)
    assert not place.exists()
    assert waiting.eventually(lambda: all(gone(pid) for pid in pids))

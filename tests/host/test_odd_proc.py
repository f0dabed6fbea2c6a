# SPDX-License-Identifier: GPL-2.0-only
"""The bundle's runner where /proc, /sys or /dev is not as usual: the reason, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[2] / "bundle"
PREFLIGHT = [sys.executable, "-m", "page_alloc_bench.runner", "--preflight"]


def inside(mounts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the runner in a mount namespace of its own, after these commands."""
    line = f'{mounts} && exec "$@"'
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", line, "sh", *PREFLIGHT[:-1], *arguments],
        env={**os.environ, "PYTHONPATH": str(BUNDLE)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def may_mount() -> None:
    if inside("mount -t tmpfs none /mnt", "--version").returncode:
        pytest.skip("only root may mount, and not in every container")


CASES = [
    ("mount -t proc -o subset=pid proc /proc", "/proc is mounted with subset=pid"),
    ("umount -l /proc", "/proc is not mounted"),
    ("mount -t tmpfs none /proc", "/proc is not mounted"),
    ("umount -l /sys", "/sys is not mounted"),
    ("mount -t tmpfs none /sys", "/sys is not mounted"),
    ("mount -t tmpfs none /sys/devices/system", "/sys is masked"),
]


@pytest.mark.parametrize(("mounts", "reason"), CASES)
def test_a_run_is_refused_in_one_line_that_says_why(mounts: str, reason: str) -> None:
    done = inside(mounts)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"page-alloc-bench: error: {reason}")


@pytest.mark.parametrize(("mounts", "reason"), CASES)
def test_what_is_advised_helps(mounts: str, reason: str) -> None:
    done = inside(mounts)
    advised = done.stderr.strip().rpartition(": ")[2]
    assert advised.startswith("mount -t ")
    after = inside(f"{mounts} && {advised}")
    assert reason not in after.stderr


def test_other_people_s_processes_need_not_be_seen() -> None:
    assert "/proc is" not in inside("mount -t proc -o hidepid=2 proc /proc").stderr


def test_no_null_device() -> None:
    done = inside("mount -t tmpfs none /dev")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "page-alloc-bench: error: /dev/null: No such file or directory; make it: "
        "mknod -m 666 /dev/null c 1 3"
    ]

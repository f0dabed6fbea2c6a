# SPDX-License-Identifier: GPL-2.0-only
"""Two revisions of a git tree on a host: built here, installed there, booted once, taken away."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from disk_host import DiskHost, write_menu
from git_tree import state
from kernel_history import PAGE_ALLOC, History, work
from restarting import BACK, FIRST_IS_NEW, METRIC, ONE, RUN, STATE, ends, shell, uninstall

HOST = Path(__file__).parent / "host.config"
MUCH = 4000  # loops for each allocation
pytestmark = pytest.mark.seconds(600)


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> History:
    history = History(tmp_path_factory.mktemp("linux") / "linux.git")
    history.commit("slower", "base", "mm: do much for each page", {PAGE_ALLOC: work(MUCH)})
    return history


@pytest.fixture(scope="module")
def host() -> Iterator[DiskHost]:
    with DiskHost() as booted:
        write_menu(booted)
        yield booted


def ab(
    host: DiskHost, history: History, directory: Path, boot: str
) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "page_alloc_bench.cli", "ab", "base", "slower"]
    program += [*history.options(), "--fragment", str(HOST)]
    program += ["--host", "host", "--ssh", host.ssh, "--boot", boot, "--back-within", BACK]
    program += ["--accept", "load", "--metric", METRIC, "--seed", FIRST_IS_NEW, *ONE]
    program += ["--dir", str(directory), "--yes", "--", *RUN]
    done = subprocess.run(
        program, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("boot", ["grub", "kexec"])
def test_two_revisions_are_installed_on_a_host_measured_and_removed(
    host: DiskHost, linux: History, boot: str, tmp_path: Path
) -> None:
    before, tree = shell(host, STATE), state(linux.path)
    done = ab(host, linux, tmp_path, boot)
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path) == [("new", "ok")]
    assert '("mm: do much for each page")' in " ".join(done.stdout.split())
    (result,) = (tmp_path / "new").iterdir()
    kernel = json.loads(result.read_text())["run"]["kernel"]
    made_for = kernel["module_build"]
    assert (made_for["same"], made_for["by"]) == (True, "build_id")
    assert kernel["build_id"] == made_for["build_id"]
    assert shell(host, "uname -r").strip() == host.old
    releases = sorted(shell(host, "ls /boot/page-alloc-bench").split())
    assert len(releases) == 2
    assert kernel["release"] in releases
    removed = uninstall(host)
    assert removed.returncode == 0, removed.stderr
    assert f"removed {', '.join(releases)}" in " ".join(removed.stderr.split())
    assert shell(host, STATE) == before
    assert state(linux.path) == tree

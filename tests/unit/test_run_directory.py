# SPDX-License-Identifier: GPL-2.0-only
"""What a detached run keeps is private, and what a stranger has put there is not trusted."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.runner.detached import run_directory
from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.lifetime import claim
from page_alloc_bench.runner.options import parse
from waiting import eventually

# What is trusted.


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_directory, "PARENTS", (str(tmp_path),))
    return tmp_path


def test_the_directory_and_its_files_are_private_whatever_the_umask(parent: Path) -> None:
    for umask in (0, 0o277):
        before = os.umask(umask)
        try:
            made = run_directory.RunDirectory.make()
        finally:
            os.umask(before)
        assert stat.S_IMODE((parent / run_directory.NAME).stat().st_mode) == 0o700
        for path in (parent / run_directory.NAME).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        made.remove()
        made.close()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o1700])
def test_a_directory_that_others_may_enter_is_not_trusted(parent: Path, mode: int) -> None:
    (parent / run_directory.NAME).mkdir()
    (parent / run_directory.NAME).chmod(mode)
    with pytest.raises(HostUnfitError, match="is not only root's"):
        run_directory.RunDirectory.find()
    with pytest.raises(FileExistsError):
        run_directory.RunDirectory.make()


def test_a_link_or_a_file_in_its_place_is_not_trusted(parent: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (parent / run_directory.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostUnfitError, match="is not a directory"):
        run_directory.RunDirectory.find()
    (parent / run_directory.NAME).unlink()
    (parent / run_directory.NAME).touch()
    with pytest.raises(HostUnfitError, match="is not a directory"):
        run_directory.RunDirectory.find()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_strangers_directory_is_not_trusted(parent: Path) -> None:
    (parent / run_directory.NAME).mkdir(mode=0o700)
    os.chown(parent / run_directory.NAME, 1, 1)
    with pytest.raises(HostUnfitError, match="is not only root's"):
        run_directory.RunDirectory.find()


def test_a_place_that_strangers_can_write_to_does_not_serve(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent.chmod(0o777)
    with pytest.raises(HostUnfitError, match="no place to keep a result"):
        run_directory.RunDirectory.find()
    (tmp_path / "private").mkdir(mode=0o700)
    monkeypatch.setattr(
        run_directory, "PARENTS", ("/nonexistent", str(parent), f"{tmp_path}/private")
    )
    assert run_directory.RunDirectory.make().path == f"{tmp_path}/private/{run_directory.NAME}"


def test_a_link_among_its_files_is_not_followed(parent: Path, tmp_path: Path) -> None:
    made = run_directory.RunDirectory.make()
    (parent / run_directory.NAME / run_directory.LOG).unlink()
    (parent / run_directory.NAME / run_directory.LOG).symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        made.reader(run_directory.LOG)


def test_removing_one_leaves_a_newer_one_alone(parent: Path) -> None:
    first = run_directory.RunDirectory.make()
    found = run_directory.RunDirectory.find()
    assert found is not None
    assert not found.is_over()
    first.close()
    assert found.is_over()
    found.remove()
    second = run_directory.RunDirectory.make()
    found.remove()
    assert sorted(path.name for path in (parent / run_directory.NAME).iterdir()) == sorted(
        (run_directory.LOG, run_directory.RESULT, run_directory.STATE)
    )
    second.remove()
    assert not (parent / run_directory.NAME).exists()


def test_without_room_for_its_files_nothing_is_left(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_directory.RunDirectory.open

    def full(self: run_directory.RunDirectory, name: str, flags: int) -> int:
        if name == run_directory.RESULT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, name, flags)

    monkeypatch.setattr(run_directory.RunDirectory, "open", full)
    with pytest.raises(OSError, match="No space left"):
        run_directory.RunDirectory.make()
    assert list(parent.iterdir()) == []
    with open("/dev/full", "wb") as file, pytest.raises(OSError, match="No space left"):
        run_directory.begin_state(file.fileno(), None)


def test_a_process_that_has_but_the_number_of_the_run_is_not_it(tmp_path: Path) -> None:
    with open(tmp_path / "state", "wb") as file:
        values = run_directory.begin_state(file.fileno(), None).values
    assert run_directory.is_alive(values)
    assert not run_directory.is_alive({**values, "start_ticks": values["start_ticks"] - 1})


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["true"])
    assert eventually(lambda: run_directory.procfs.start_ticks(child.pid) is None)
    child.wait()


def test_a_state_that_is_longer_or_shorter_is_read_as_it_was_last_written(tmp_path: Path) -> None:
    with open(tmp_path / "state", "w+b") as file:
        assert run_directory.read_state(file.fileno()) is None
        state = run_directory.begin_state(file.fileno(), "/" + "long/" * 1000)
        state.update(progress="x" * 1000)
        state.update(progress="y")
        read = run_directory.read_state(file.fileno())
    assert read == state.values


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_stranger_with_the_name_of_the_claim_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pab-test-stranger-{os.getpid()}"
    monkeypatch.setattr(claim, "LISTED_AS", f"@{name}")
    code = f"""
import os, socket
os.setuid(1)
taken = socket.socket(socket.AF_UNIX)
taken.bind("\\0{name}")
taken.listen()
print(flush=True)
input()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout
        stranger.stdout.readline()
        assert claim.find() is None


# Usage.


@pytest.mark.parametrize(
    "arguments",
    [
        ["--detach", "--attach"],
        ["--detach", "--list"],
        ["--detach", "--ktap"],
        ["--attach", "--stop"],
        ["--status", "--info"],
        ["--extract=x", "--stop"],
    ],
)
def test_what_excludes_each_other_is_bad_usage(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_preflight_may_judge_a_run_that_is_to_be_detached() -> None:
    options = parse(["--preflight", "--detach"])
    assert (options.verb, options.detach) == ("preflight", True)

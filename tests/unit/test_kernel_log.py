# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's log is read only where it is the kernel's, and never waited for without an end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from page_alloc_bench.runner.errors import FindlimitError
from page_alloc_bench.runner.kernel import log as kernel_log
from page_alloc_bench.runner.kernel import oom_log
from page_alloc_bench.runner.measuring.findlimit import measure


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "/dev/null": (lambda path: path.symlink_to("/dev/null"), "/dev/null, character device 1:3"),
    "/dev/zero": (lambda path: path.symlink_to("/dev/zero"), "/dev/zero, character device 1:5"),
    "a FIFO": (os.mkfifo, "a FIFO"),
    "a file": (lambda path: path.write_text("3,1,1,-;forged\n"), "a regular file"),
    "a directory": (os.mkdir, "a directory"),
    "a socket": (make_socket, "a socket"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY], ids=["to read", "to write"])
def test_what_is_not_the_log_is_not_opened(name: str, flags: int, tmp_path: Path) -> None:
    make, what = OTHERS[name]
    path = tmp_path / "kmsg"
    make(path)
    start = time.monotonic()
    with pytest.raises(OSError, match="not the kernel's log") as refused:
        kernel_log.open_log(flags, str(path))
    assert time.monotonic() - start < 1  # a FIFO without the other end keeps an open() waiting
    assert refused.value.strerror == f"it is {what}, not the kernel's log"
    assert "mknod" in kernel_log.advice(refused.value)


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_is_written_to_what_is_not_the_log(name: str, tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    OTHERS[name][0](path)
    before = path.read_text() if path.is_file() else None
    kernel_log.say("a word", str(path))
    assert (path.read_text() if path.is_file() else None) == before


def test_a_missing_log_is_not_made_by_writing_to_it(tmp_path: Path) -> None:
    kernel_log.say("a word", str(tmp_path / "kmsg"))
    assert list(tmp_path.iterdir()) == []


def test_no_log_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as refused:
        kernel_log.open_log(os.O_RDONLY, str(tmp_path / "kmsg"))
    assert "mknod -m 644 /dev/kmsg c 1 11" in kernel_log.advice(refused.value)


def test_the_end_of_a_file_is_not_a_record() -> None:
    """As when what was the log is gone: /dev/null is at its end at once, and for ever."""
    start = time.monotonic()
    with oom_log.OomLog(os.open("/dev/null", os.O_RDONLY)) as log:
        assert log.kills() == []
        assert log.await_kill({1}, 0.2) is None
    assert time.monotonic() - start < 5


def test_a_log_that_never_pauses_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "READ_S", 0.3)
    start = time.monotonic()
    with oom_log.OomLog(os.open("/dev/zero", os.O_RDONLY)) as log:
        assert log.await_kill({1}, 0.5) is None
    assert 0.5 <= time.monotonic() - start < 3


def test_findlimit_starts_no_child_without_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "kmsg"
    path.symlink_to("/dev/null")
    monkeypatch.setattr(kernel_log, "KMSG", str(path))
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a child was started"))
    with pytest.raises(FindlimitError, match=r"character device 1:3.*rm .* mknod"):
        measure.measure(measure.Settings(cpus=(0,)))

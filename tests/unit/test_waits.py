# SPDX-License-Identifier: GPL-2.0-only
"""Nothing is waited for without an end: a child that does not come back, a reader that does not
read, a lock that is kept. Whoever waits may hold signals back, and be all that cleans the host.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from page_alloc_bench.runner.detached import run_directory
from page_alloc_bench.runner.errors import HostUnfitError, Interrupted, RunnerError
from page_alloc_bench.runner.lifetime import in_child, reap, watchdog
from page_alloc_bench.runner.lifetime.scratch import Scratch
from page_alloc_bench.runner.telling import progress
from page_alloc_bench.runner.telling.progress import Reporter

SOON = 5.0


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reap, "LIMIT_S", 0.3)
    monkeypatch.setattr(progress, "PATIENCE_S", 0.3)


def no_children() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


def test_a_look_that_never_comes_back_is_ended_and_told() -> None:
    with within(SOON), pytest.raises(RunnerError, match=r"did not end within 0.2 s.*hangs"):
        in_child.call(lambda: time.sleep(600), limit_s=0.2)
    assert no_children()


def test_a_wish_to_stop_ends_a_look_that_takes_long() -> None:
    def stop() -> None:
        raise Interrupted(signal.SIGTERM)

    with within(SOON), pytest.raises(Interrupted):
        in_child.call(lambda: time.sleep(600), stop)
    assert no_children()


def test_a_stopped_look_is_ended_too() -> None:
    def stop_itself() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    with within(SOON), pytest.raises(RunnerError, match="did not end within"):
        in_child.call(stop_itself, limit_s=0.2)
    assert no_children()


def test_where_sigchld_is_ignored_a_look_comes_back_all_the_same() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert in_child.call(lambda: 7) == 7
        watchdog.Watchdog().dismiss()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_stopped_watchdog_is_dismissed() -> None:
    guard = watchdog.Watchdog()
    os.kill(guard.pid, signal.SIGSTOP)
    with within(SOON):
        guard.dismiss()
    assert not Path(f"/proc/{guard.pid}").exists()


def test_a_stopped_keeper_of_the_scratch_directory_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    monkeypatch.setitem(sys._xoptions, "page_alloc_bench_alive", f"{writer}:{keeper}")
    try:
        with within(SOON):
            Scratch(None).take_over()
        assert os.read(reader, 10) == b"bye\n"
    finally:
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
        os.close(reader)


def test_a_child_on_its_way_is_waited_for() -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(1)
        os._exit(0)
    assert reap.ended(pid, 0.3, moving=time.monotonic)


@contextmanager
def stderr_that_nobody_reads() -> Iterator[int]:
    """A full pipe as stderr; yields its end for reading."""
    saved = os.dup(2)
    reader, writer = os.pipe()
    os.write(writer, bytes(fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)))
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield reader
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(reader)


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_reader_that_does_not_read_keeps_nobody(*, blocking: bool) -> None:
    with stderr_that_nobody_reads() as reader:
        os.set_blocking(2, blocking)
        reporter = Reporter()
        with within(SOON):
            for _ in range(100):
                reporter.warning("nobody reads this")
            reporter.check_readers()
        assert not os.read(reader, 1 << 20).strip(b"\0")
        reporter.warning("read again")
        assert b"read again" in os.read(reader, 1 << 20)


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_slow_reader_loses_nothing(monkeypatch: pytest.MonkeyPatch, *, blocking: bool) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 20.0)
    heard = bytearray()

    def listen(reader: int) -> None:
        while not heard.endswith(b"the last\n"):
            heard.extend(os.read(reader, 4096))
            time.sleep(0.001)

    with stderr_that_nobody_reads() as reader:
        os.set_blocking(2, blocking)
        thread = threading.Thread(target=listen, args=(reader,))
        thread.start()
        reporter = Reporter()
        reporter.table("x" * 200_000)
        reporter.warning("the last")
        thread.join(60)
    assert heard.count(b"x") == 200_000


def test_a_directory_that_another_keeps_locked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_directory, "LOCK_S", 0.3)
    monkeypatch.setattr(run_directory, "PARENTS", (str(tmp_path),))
    tmp_path.chmod(0o700)
    directory = run_directory.RunDirectory.make()
    directory.close()
    holder = os.open(directory.path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    found = run_directory.RunDirectory.find()
    assert found is not None
    with within(SOON), pytest.raises(HostUnfitError, match=r"locked: see who \(fuser /"):
        found.remove()
    os.close(holder)
    found.remove()
    assert not Path(directory.path).exists()
    found.close()

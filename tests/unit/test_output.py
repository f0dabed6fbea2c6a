# SPDX-License-Identifier: GPL-2.0-only
"""Where the result goes is proven before anything is measured, and nothing is ever half written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.runner.errors import Interrupted, NobodyListens, RunnerError, UsageError
from page_alloc_bench.runner.telling import output
from page_alloc_bench.runner.telling.progress import Reporter


def ignore_stuck() -> None:
    """Wait on."""


def ignore(_path: str) -> None:
    return None


def test_a_file_appears_whole_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    opened = output.open_output(str(path), ignore)
    assert not path.exists()
    opened.write(["a", "b"], ignore_stuck)
    opened.discard()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [(path.name, "ab")]


def test_what_is_kept_on_the_way_is_whole_each_time_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    opened = output.open_output(str(path), ignore)
    for text in ("first, and long", "second"):
        opened.keep_so_far([text])
        assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [
            (path.name, text)
        ]
    opened.discard()
    assert path.read_text() == "second"


def test_the_last_word_replaces_what_was_kept_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    opened = output.open_output(str(path), ignore)
    opened.keep_so_far(["some"])
    opened.write(["all"], ignore_stuck)
    opened.discard()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [(path.name, "all")]


def test_what_cannot_be_kept_on_the_way_does_not_cost_the_result(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    opened = output.open_output(str(path), ignore)

    def full() -> Iterator[str]:
        yield "half of it"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunnerError, match=r"cannot keep in .*result.json .*: No space left"):
        opened.keep_so_far(full())
    assert not path.exists()
    opened.write(["all"], ignore_stuck)
    assert path.read_text() == "all"


def test_what_is_not_written_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    output.open_output(str(path), ignore).discard()
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_the_temporary_file_is_announced_before_it_exists(tmp_path: Path) -> None:
    announced = []

    def note(path: str) -> None:
        assert not os.path.exists(path)
        announced.append(path)

    opened = output.open_output(str(tmp_path / "result.json"), note)
    assert [str(entry) for entry in tmp_path.iterdir()] == announced
    opened.discard()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is another's")
def test_a_strangers_link_is_refused_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "result.json"
    path.symlink_to(victim)
    os.lchown(path, 1000, 1000)
    with pytest.raises(UsageError, match=f"{path} is a symbolic link of user 1000"):
        output.open_output(str(path), ignore)
    assert victim.read_text() == "precious"
    assert {entry.name for entry in tmp_path.iterdir()} == {"victim", "result.json"}


@pytest.mark.parametrize("path", ["missing/result.json", "file/result.json", ".", "a\nb"])
def test_an_unwritable_path_is_found_at_once(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--output-path"):
        output.open_output(path, ignore)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_device_is_written_to_as_it_is() -> None:
    opened = output.open_output(os.devnull, ignore)
    opened.write(["a"], ignore_stuck)
    opened.discard()
    assert os.path.exists(os.devnull)


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(RunnerError, match="No space left on device"):
        output.open_output("/dev/full", ignore).write(["a"], ignore_stuck)


def open_when_read(path: Path) -> output.Output:
    """Open a pipe as soon as its reader is there."""
    while True:
        with contextlib.suppress(UsageError):
            return output.open_output(str(path), ignore)


def test_a_pipe_gets_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    opened = open_when_read(path)
    opened.write(["x" * 100_000, "y"], ignore_stuck)
    opened.discard()
    reader.join()
    assert read == ["x" * 100_000 + "y"]


def test_a_pipe_without_a_reader_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="No such device or address"):
        output.open_output(str(tmp_path / "pipe"), ignore)


def replace_descriptor(fd: int, by: int) -> int:
    saved = os.dup(fd)
    os.dup2(by, fd)
    return saved


@pytest.mark.parametrize("path", [None, "-", "/dev/stdout"])
def test_stdout_is_meant_by_each_of_its_names(
    path: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = output.open_output(path, ignore)
    opened.write(["text"], ignore_stuck)
    assert opened.to_stdout
    assert capfd.readouterr().out == "text"


@contextlib.contextmanager
def terminal_as_stdout() -> Iterator[None]:
    leader, follower = os.openpty()
    saved = replace_descriptor(1, follower)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        for fd in (saved, leader, follower):
            os.close(fd)


def test_a_terminal_gets_no_json() -> None:
    with terminal_as_stdout():
        assert not output.open_output(None, ignore).wanted


def test_what_a_terminal_would_get_is_kept_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)
    try:
        with terminal_as_stdout():
            opened = output.open_output(None, ignore, keep=True)
    finally:
        os.umask(before)
    name = re.escape(f"page-alloc-bench-{os.uname().release}-") + r"\d{8}T\d{6}\.json"
    assert re.fullmatch(name, opened.kept_as)
    opened.write(["text"], ignore_stuck)
    opened.discard()
    (kept,) = tmp_path.iterdir()
    assert (kept.name, kept.read_text()) == (opened.kept_as, "text")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600  # what the umask left of 0644


@pytest.mark.parametrize("directory", ["/sys", "gone"])
def test_where_nothing_can_be_kept_that_is_said_before_the_run(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / directory
    if directory == "gone":
        place.mkdir()
    monkeypatch.chdir(place)
    if directory == "gone":
        place.rmdir()
    with terminal_as_stdout(), pytest.raises(UsageError, match="--output-path none"):
        output.open_output(None, ignore, keep=True)


def test_what_goes_elsewhere_is_not_kept_besides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with terminal_as_stdout():
        for path, stdout_taken in (("none", False), (None, True), (os.devnull, False)):
            opened = output.open_output(path, ignore, stdout_taken=stdout_taken, keep=True)
            assert opened.kept_as == ""
            assert opened.wanted == (path == os.devnull)
            opened.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_be_called_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output.open_output("./none", ignore).write(["text"], ignore_stuck)
    assert (tmp_path / "none").read_text() == "text"


def test_a_stdout_without_a_reader_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    saved = replace_descriptor(1, writer)
    try:
        with pytest.raises(RunnerError, match="cannot write the result to stdout: Broken pipe"):
            output.open_output(None, ignore).write(["text"], ignore_stuck)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writer)


def test_progress_notices_that_nobody_reads_it_any_more() -> None:
    reader, writer = os.pipe()
    saved = replace_descriptor(2, writer)
    os.close(writer)
    try:
        reporter = Reporter()
        reporter.phase("idle")
        reporter.tick()
        os.close(reader)
        with pytest.raises(NobodyListens, match="stderr was closed"):
            reporter.tick()
        reporter.phase("stop")  # in which results are saved
        reporter.warning("goes nowhere, and raises nothing")
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_a_quiet_run_does_not_care_who_reads_its_stderr() -> None:
    reader, writer = os.pipe()
    saved = replace_descriptor(2, writer)
    os.close(writer)
    os.close(reader)
    try:
        Reporter(quiet=True).tick()
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_without_a_terminal_each_iteration_is_one_plain_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reporter = Reporter()
    reporter.phase("order 0, idle")
    for size in range(1000):
        reporter.tick(", iteration 1 of 1", size)
    reporter.finished(", iteration 1 of 1: 2.000 GiB")
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("] ")[2] for line in lines] == [
        "order 0, idle",
        "order 0, idle, iteration 1 of 1: 2.000 GiB",
    ]


def test_quiet_leaves_warnings_and_errors(capfd: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(quiet=True)
    reporter.phase("idle")
    reporter.finished("")
    reporter.hint("hint")
    reporter.table("table")
    reporter.warning("first")
    reporter.error("second")
    assert capfd.readouterr().err == (
        "page-alloc-bench: warning: first\npage-alloc-bench: error: second\n"
    )


def test_a_closed_stderr_is_a_wish_for_silence() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    saved = replace_descriptor(2, null)
    os.close(null)
    try:
        reporter = Reporter()
        reporter.phase("idle")
        reporter.warning("goes nowhere")
        reporter.tick()
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_a_reader_that_does_not_read_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "STUCK_MS", 10)
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)

    def give_up() -> None:
        raise Interrupted(signal.SIGINT)

    try:
        with pytest.raises(Interrupted):
            output.open_output(None, ignore).write(["x" * 1_000_000], give_up)
    finally:
        os.dup2(saved, 1)
        for fd in (saved, reader, writer):
            os.close(fd)

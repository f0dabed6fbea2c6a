# SPDX-License-Identifier: GPL-2.0-only
"""The watchdog cleans up after a runner that was killed, and only then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.lifetime import watchdog
from page_alloc_bench.runner.module import loading
from waiting import eventually

RUNNER = """
import os, sys, time
from page_alloc_bench.runner.lifetime import watchdog
guard = watchdog.Watchdog()
guard.expect(watchdog.TREE, sys.argv[1])
guard.expect(watchdog.FILE, sys.argv[2])
guard.expect(watchdog.FILE, sys.argv[3])
guard.forget(watchdog.FILE, sys.argv[3])
print(guard.pid, flush=True)
{then}
"""


@pytest.fixture
def traces(tmp_path: Path) -> list[Path]:
    """Make what a run leaves: a tree, a file, and a file that is not the watchdog's business."""
    tree, file, result = tmp_path / "tree", tmp_path / "file", tmp_path / "result"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_text("")
    file.write_text("")
    result.write_text("")
    return [tree, file, result]


def start(traces: list[Path], then: str, *words: str) -> tuple[subprocess.Popen[str], int]:
    """Start a runner that does what then says; return it and the PID of its watchdog."""
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER.format(then=then), *map(str, traces), *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    return runner, int(runner.stdout.readline())


def gone(pid: int) -> bool:
    """Return whether a process has ended; as an orphan it may stay a zombie where init is lazy."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_runner_is_cleaned_up_after(traces: list[Path]) -> None:
    runner, guard = start(traces, "time.sleep(60)")
    runner.kill()
    runner.wait()
    assert eventually(lambda: gone(guard))
    assert [path.exists() for path in traces] == [False, False, True]


def test_one_that_says_goodbye_has_cleaned_up_by_itself(traces: list[Path]) -> None:
    runner, guard = start(traces, "guard.dismiss()")
    assert runner.wait(timeout=60) == 0
    assert gone(guard), "dismiss() waits for it"
    assert all(path.exists() for path in traces)


def test_it_survives_what_ends_the_runners_session(traces: list[Path]) -> None:
    runner, guard = start(traces, "time.sleep(60)")
    assert eventually(lambda: os.getsid(guard) == guard), "setsid"
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        os.kill(guard, signum)
    time.sleep(0.1)
    assert not gone(guard)
    runner.kill()
    assert eventually(lambda: gone(guard))
    assert not traces[0].exists()


def streams(pid: int) -> set[str]:
    """Return what a process has open but for the one pipe of the watchdog."""
    names = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    pipes = [name for name in names if name.startswith("pipe:")]
    return set(names) - set(pipes[:1])


def test_it_holds_no_stream_that_somebody_waits_for(traces: list[Path]) -> None:
    """Reading the runner's stdout to its end must not wait for the watchdog."""
    runner, guard = start(traces, "os.close(1); time.sleep(60)")
    assert runner.stdout is not None
    assert runner.stdout.read() == ""
    assert eventually(lambda: streams(guard) == {os.devnull})
    assert os.readlink(f"/proc/{guard}/cwd") == "/"
    runner.kill()
    assert eventually(lambda: gone(guard))


def test_it_does_nothing_while_it_waits(traces: list[Path]) -> None:
    runner, guard = start(traces, "time.sleep(60)")
    assert eventually(lambda: Path(f"/proc/{guard}/comm").read_text() == "pab-watchdog\n")
    time.sleep(0.2)
    before = Path(f"/proc/{guard}/status").read_text().partition("ctxt_switches")[2]
    time.sleep(0.5)
    assert Path(f"/proc/{guard}/status").read_text().partition("ctxt_switches")[2] == before
    runner.kill()
    assert eventually(lambda: gone(guard))


def test_a_killed_watchdog_is_noticed_and_no_obstacle(traces: list[Path]) -> None:
    runner, guard = start(
        traces,
        "while guard.expect(watchdog.FILE, '/nonexistent'): time.sleep(0.01)\nguard.dismiss()",
    )
    os.kill(guard, signal.SIGKILL)
    assert runner.wait(timeout=60) == 0


def test_the_module_is_unloaded_as_soon_as_its_session_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [11, 11, 0]  # EAGAIN while the device is open
    monkeypatch.setattr(loading, "delete_module", lambda _name: answers.pop(0))
    monkeypatch.setattr(loading, "is_loaded", lambda _name: False)
    loading.unload("page_alloc_bench", time.monotonic() + 10)
    assert answers == []


def test_a_module_that_stays_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "delete_module", lambda _name: 11)
    with pytest.raises(RunnerError, match="rmmod page_alloc_bench"):
        loading.unload("page_alloc_bench", time.monotonic())


def test_one_failure_does_not_keep_the_rest_from_being_cleaned(
    traces: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[str] = []
    monkeypatch.setattr(watchdog, "complain", complaints.append)
    tree, file, _ = (str(path) for path in traces)
    watchdog.clean([(watchdog.TREE, tree), (watchdog.FILE, tree), (watchdog.FILE, file)])
    assert [path.exists() for path in traces] == [False, False, True]
    assert len(complaints) == 1


@pytest.mark.parametrize("words", [[], ["x"], ["bench.run", "--iterations", "3"]])
def test_it_shows_nothing_of_what_the_run_was_started_with(
    words: list[str], traces: list[Path]
) -> None:
    """So that `pkill -9 -f bench.run` kills the run, and not what cleans up after it."""
    runner, guard = start(traces, f"{words}; time.sleep(60)", *words)
    assert Path(f"/proc/{guard}/cmdline").read_bytes().rstrip(b"\0") == b"pab-watchdog"
    assert Path(f"/proc/{guard}/comm").read_text() == "pab-watchdog\n"
    runner.kill()
    assert eventually(lambda: gone(guard))
    assert not traces[0].exists()

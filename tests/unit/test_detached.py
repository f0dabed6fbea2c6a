# SPDX-License-Identifier: GPL-2.0-only
"""Runs that go on by themselves, with real processes; what they do in place of measuring is ours.

tests/faults has the same with the kernel module and real connections.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.runner.detached import run_directory
from page_alloc_bench.runner.errors import HostUnfitError
from page_alloc_bench.runner.lifetime import claim
from page_alloc_bench.runner.options import parse

SOURCES = Path(run_directory.__file__).parents[3]
# A bench.run that measures nothing: it waits for a file called go, and obeys FAKE.
PROGRAM = """
import os, sys, time
sys.path.insert(0, {sources!r})
from page_alloc_bench.runner import session
from page_alloc_bench.runner.telling import output
from page_alloc_bench.runner.lifetime import claim as single
from page_alloc_bench.runner.lifetime import watchdog
from page_alloc_bench.runner.detached import whereabouts
from page_alloc_bench.runner.detached import run_directory
from page_alloc_bench.runner.errors import HostUnfitError, Stop
from page_alloc_bench.runner.measuring.estimate import Forecast
from page_alloc_bench.runner.telling.progress import Reporter

run_directory.PARENTS = ({parent!r},)
run_directory.require_root = lambda *_: None
single.ADDRESS = "\\0pab-test-" + {name!r}
single.LISTED_AS = "@pab-test-" + {name!r}
FAKE = os.environ.get("FAKE", "")

def run(options, signals, scratch, attendant=None):
    tell = attendant.tell if attendant else whereabouts.publish(options.output_path)
    reporter = Reporter(quiet=options.quiet, tell=tell, unread=attendant is not None)
    if FAKE == "forecast":
        probed = {{"bytes_per_second": 1 << 30, "first_bytes_per_second": 1 << 30}}
        reporter.expect(Forecast(options, {{
            "estimated_s": 40.0, "probe": probed, "fill_bytes": 1 << 30, "cold": False}}))
    reporter.warning("found by the preflight")
    while FAKE == "slow" and not os.path.exists({parent!r} + "/begin"):
        time.sleep(0.02)
    if FAKE == "refuse":
        reporter.error("the host is unfit")
        return 3
    try:
        claim = single.claim()
    except HostUnfitError as error:
        reporter.error(str(error))
        return 3
    guard = watchdog.Watchdog([claim.fileno(), *([attendant.directory] if attendant else [])])
    code, out = 0, output.open_output(options.output_path, lambda _: None)
    if attendant:
        attendant.begun()
    reporter.phase("order 0, idle", "idle", 0)
    reporter.finished(", iteration 1 of 2: 1 GiB")
    try:
        while not os.path.exists({parent!r} + "/go"):
            time.sleep(0.02)
    except Stop as stop:
        code = stop.exit_code
        reporter.error(str(stop))
    signals.finish()
    if FAKE == "raise":
        raise RuntimeError("on purpose")
    out.write(['{{"code": %d, "padding": "%s"}}\\n' % (code, "x" * 300000)], signals.let_in)
    if attendant and out.wanted:
        attendant.written()
    guard.dismiss()
    claim.close()
    return code

session.run = run
from page_alloc_bench.runner.__main__ import main
sys.exit(main())
"""


class Host:
    """A place with its own kept directory and claim, and the commands of a user there."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.kept = parent / run_directory.NAME
        name = f"{os.getpid()}-{parent.name}"
        source = PROGRAM.format(sources=str(SOURCES), parent=str(parent), name=name)
        self._program = parent / "bench.py"
        self._program.write_text(source)

    def start(self, *options: str, **more: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "FAKE": more.pop("fake", "")}
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "text": True, "env": environment, **more,
        }  # fmt: skip
        return subprocess.Popen([sys.executable, self._program, *options], **settings)

    def run(self, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which comes when nobody holds its pipes any more."""
        process = self.start(*options, **more)
        out, err = process.communicate(timeout=20)
        return subprocess.CompletedProcess(options, process.returncode, out, err)

    def detach(self, *options: str, **more: Any) -> int:
        """Start a run; return its PID."""
        done = self.run("--detach", *options, **more)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return int(self.status()["pid"])

    def status(self) -> dict[str, Any]:
        done = self.run("--status")
        assert done.stderr == ""
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def told_to_a_person(self) -> list[str]:
        """Return the lines that --status has for a terminal."""
        leader, follower = pty.openpty()
        process = self.start("--status", stdout=follower)
        os.close(follower)
        process.wait(20)
        text = os.read(leader, 4096).decode()
        os.close(leader)
        return text.splitlines()

    def go(self) -> None:
        (self.parent / "go").touch()

    def end(self) -> None:
        """Let the run come to its end."""
        self.go()
        assert eventually(lambda: self.status()["state"] != "running")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.go()
    assert eventually(lambda: made.status()["state"] in ("ended", "none", "killed"))


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_detached_run_goes_on_with_no_tie_to_where_it_was_started(host: Host) -> None:
    done = host.run("--detach")
    assert (done.returncode, done.stdout) == (0, "")
    assert "warning: found by the preflight" in done.stderr
    told = host.status()
    pid = told["pid"]
    assert f"as PID {pid}" in done.stderr
    for word in ("--status", "--attach", "--stop"):
        assert word in done.stderr
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    open_files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    strangers = ("/dev/null", str(host.kept), "socket:", "pipe:")
    assert [name for name in open_files if not name.startswith(strangers)] == []
    assert (told["state"], told["detached"], told["host_is_clean"]) == ("running", True, False)
    assert (told["phase"], told["progress"]) == ("order 0, idle", "iteration 1 of 2: 1 GiB")


def test_what_a_terminal_may_send_does_not_reach_it(host: Host) -> None:
    leader, follower = pty.openpty()
    starter = host.start("--detach", stdin=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    assert starter.wait(20) == 0
    os.close(leader)  # the terminal hangs up
    time.sleep(0.2)
    assert host.status()["state"] == "running"


def test_attach_tells_all_hands_over_the_result_and_leaves_nothing(host: Host) -> None:
    host.detach()
    attached = host.start("--attach")
    time.sleep(0.5)
    host.go()
    out, err = attached.communicate(timeout=20)
    assert attached.returncode == 0
    assert json.loads(out)["code"] == 0
    assert "warning: found by the preflight" in err
    assert "order 0, idle, iteration 1 of 2" in err
    assert not host.kept.exists()


def test_attach_after_the_end_does_the_same(host: Host) -> None:
    host.detach()
    host.end()
    assert host.run("--status").returncode == 10
    assert host.status()["exit_code"] == 0
    done = host.run("--attach", "--quiet")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (0, 0)
    assert done.stderr == "page-alloc-bench: warning: found by the preflight\n"
    assert not host.kept.exists()


def test_the_result_goes_where_attach_is_told(host: Host, tmp_path: Path) -> None:
    host.detach()
    host.go()
    done = host.run("--attach", "--output-path", str(tmp_path / "result.json"))
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads((tmp_path / "result.json").read_text())["code"] == 0
    assert not host.kept.exists()


def test_the_result_goes_where_detach_was_told(host: Host, tmp_path: Path) -> None:
    done = host.run("--detach", "--output-path", "result.json", cwd=tmp_path)
    assert str(tmp_path / "result.json") in done.stderr
    host.go()
    done = host.run("--attach")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"the result is in {tmp_path}/result.json" in done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["code"] == 0
    assert not host.kept.exists()


def test_a_result_that_nobody_wants_goes_nowhere(host: Host, tmp_path: Path) -> None:
    host.detach("--output-path", "none", cwd=tmp_path)
    assert host.status()["result"] is None
    host.end()
    done = host.run("--attach")
    assert (done.returncode, done.stdout) == (0, "")
    assert "the result is" not in done.stderr
    host.detach()
    host.end()
    done = host.run("--attach", "--output-path", "none", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert not host.kept.exists()
    assert not (tmp_path / "none").exists()


def test_where_attach_cannot_write_nothing_is_lost(host: Host, tmp_path: Path) -> None:
    host.detach()
    host.end()
    assert host.run("--attach", "--output-path", str(tmp_path / "no/result")).returncode == 2
    with open("/dev/full", "w") as full:
        done = host.run("--attach", stdout=full)
    assert done.returncode == 1
    assert "cannot write the result to stdout" in done.stderr
    assert json.loads(host.run("--attach").stdout)["code"] == 0


def test_a_terminal_gets_no_result_and_it_is_kept(host: Host) -> None:
    host.detach()
    host.end()
    leader, follower = pty.openpty()
    done = host.run("--attach", stdout=follower)
    os.close(follower)
    os.close(leader)
    assert done.returncode == 0
    assert "fetch it with --attach --output-path FILE" in done.stderr
    assert host.status()["state"] == "ended"
    assert json.loads(host.run("--attach").stdout)["code"] == 0


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_ending_attach_does_not_end_the_run(host: Host, signum: int, code: int) -> None:
    host.detach()
    attached = host.start("--attach")
    assert attached.stderr
    while "iteration 1" not in attached.stderr.readline():
        continue
    attached.send_signal(signum)
    assert attached.wait(20) == code
    assert "the run goes on" in attached.stderr.read()
    assert host.status()["state"] == "running"
    host.go()
    done = host.run("--attach")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (0, 0)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_attach_whose_reader_has_gone_ends_and_leaves_everything(host: Host, stream: str) -> None:
    host.detach()
    attached = host.start("--attach")
    getattr(attached, stream).close()
    assert attached.wait(20) == 1
    assert host.status()["state"] == "running"
    host.end()
    assert json.loads(host.run("--attach").stdout)["code"] == 0


def test_two_attaches_both_get_everything(host: Host) -> None:
    host.detach()
    attached = [host.start("--attach") for _ in range(2)]
    for process in attached:
        assert process.stderr
        while "iteration 1" not in process.stderr.readline():
            continue
    host.go()
    outcomes = [process.communicate(timeout=20) for process in attached]
    assert [process.returncode for process in attached] == [0, 0]
    assert outcomes[0][0] == outcomes[1][0]
    assert json.loads(outcomes[0][0])["code"] == 0
    assert not host.kept.exists()


def test_a_refusal_is_told_and_nothing_stays(host: Host) -> None:
    done = host.run("--detach", fake="refuse")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error: the host is unfit\n" in done.stderr
    assert not host.kept.exists()


def test_a_failure_of_ours_ends_with_1_and_its_traceback(host: Host) -> None:
    host.detach(fake="raise")
    host.end()
    done = host.run("--attach")
    assert (done.returncode, done.stdout) == (1, "")
    assert "RuntimeError: on purpose" in done.stderr
    assert not host.kept.exists()


def test_ctrl_c_before_it_has_begun_ends_the_run_too(host: Host) -> None:
    starter = host.start("--detach", fake="slow")
    assert starter.stderr
    assert "preflight" in starter.stderr.readline()
    starter.send_signal(signal.SIGINT)
    assert starter.wait(20) == 130
    assert "stopped by SIGINT" in starter.stderr.read()
    assert not host.kept.exists()


def test_a_connection_that_drops_before_it_has_begun_leaves_it_to_begin(host: Host) -> None:
    starter = host.start("--detach", fake="slow")
    assert starter.stderr
    assert "preflight" in starter.stderr.readline()
    starter.send_signal(signal.SIGHUP)
    assert starter.wait(20) == 129
    (host.parent / "begin").touch()
    assert eventually(lambda: host.status()["phase"] == "order 0, idle")


def test_a_second_one_is_turned_away_with_the_way_to_the_first(host: Host) -> None:
    pid = host.detach()
    done = host.run("--detach")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"a detached run (PID {pid}) is running" in done.stderr
    assert done.stderr.count("\n") == 1
    host.end()
    done = host.run("--detach")
    assert done.returncode == 3
    assert "--attach fetches it, and --attach >/dev/null discards it" in done.stderr
    assert json.loads(host.run("--attach").stdout)["code"] == 0


def test_an_ordinary_run_does_not_touch_what_is_kept(host: Host) -> None:
    host.detach()
    host.end()
    assert host.run().returncode == 0
    assert host.status()["state"] == "ended"
    assert json.loads(host.run("--attach").stdout)["code"] == 0


def test_one_beside_an_ordinary_run_is_refused(host: Host) -> None:
    ordinary = host.start(stdout=subprocess.DEVNULL)
    assert eventually(lambda: host.status()["state"] == "running")
    done = host.run("--detach")
    assert done.returncode == 3
    assert f"another copy (PID {ordinary.pid}) is running" in done.stderr
    assert not host.kept.exists()
    done = host.run("--attach")
    assert done.returncode == 12
    assert "is not detached" in done.stderr
    host.go()
    assert ordinary.wait(20) == 0


def test_stop_ends_it_and_the_partial_result_is_kept(host: Host) -> None:
    pid = host.detach()
    done = host.run("--stop")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"waiting for PID {pid} to end" in done.stderr
    assert "the host is clean; --attach tells" in done.stderr
    assert run_directory.procfs.start_ticks(pid) is None
    assert host.status()["exit_code"] == 143
    done = host.run("--attach")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (143, 143)
    assert "stopped by SIGTERM" in done.stderr


def test_stop_ends_a_run_that_is_suspended(host: Host) -> None:
    os.kill(host.detach(), signal.SIGSTOP)
    assert host.run("--stop").returncode == 0
    assert host.run("--attach").returncode == 143


def test_stop_ends_an_ordinary_run(host: Host) -> None:
    ordinary = host.start(stdout=subprocess.DEVNULL)
    assert eventually(lambda: host.status()["state"] == "running")
    told = host.status()
    assert (told["detached"], told["pid"]) == (False, ordinary.pid)
    # The starter is this very test, which reaps it only now.
    stopper = host.start("--stop")
    assert ordinary.wait(20) == 143
    assert stopper.wait(20) == 0


@pytest.mark.parametrize("detached", [True, False])
def test_status_tells_how_far_any_run_is_and_how_long_it_takes(host: Host, detached: bool) -> None:
    words = ["--iterations", "2", "--output-path", str(host.parent / "result.json")]
    if detached:
        host.detach(*words, fake="forecast")
    else:
        ordinary = host.start(*words, fake="forecast")
        assert eventually(lambda: bool(host.status().get("progress")))
        assert not host.kept.exists()
    told = host.status()
    assert (told["state"], told["detached"]) == ("running", detached)
    assert (told["phase"], told["progress"]) == ("order 0, idle", "iteration 1 of 2: 1 GiB")
    assert (told["phase_number"], told["phases"]) == (2, 12)
    assert told["left_s"] >= 0
    assert told["elapsed_s"] >= 0
    assert (told["exit_code"], told["result_written"]) == (None, False)
    assert told["result"] == str(host.parent / "result.json")
    lines = host.told_to_a_person()
    assert ("not a detached run" in lines[0]) != detached
    assert lines[1] == "order 0, idle, iteration 1 of 2: 1 GiB"
    assert re.fullmatch(r"phase 2 of 12, about \d+ s left", lines[2])
    host.go()
    if not detached:
        assert ordinary.wait(20) == 0
        assert host.status()["state"] == "none"


def test_status_of_an_ordinary_run_that_was_killed_knows_no_more_of_it(host: Host) -> None:
    ordinary = host.start(stdout=subprocess.DEVNULL)
    assert eventually(lambda: bool(host.status().get("phase")))
    ordinary.kill()
    ordinary.wait()
    assert eventually(lambda: host.status()["state"] == "none")


def test_of_a_killed_one_there_are_the_words_and_137(host: Host) -> None:
    os.kill(host.detach(), signal.SIGKILL)
    assert eventually(lambda: host.run("--status").returncode == 11)
    assert host.status()["state"] == "killed"
    done = host.run("--attach")
    assert (done.returncode, done.stdout) == (137, "")
    assert "order 0, idle" in done.stderr
    assert "was killed" in done.stderr
    assert not host.kept.exists()


def test_where_there_is_nothing_they_say_so(host: Host) -> None:
    done = host.run("--status")
    assert (done.returncode, done.stderr) == (12, "")
    assert json.loads(done.stdout)["state"] == "none"
    for verb in ("--attach", "--stop"):
        done = host.run(verb)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (12, "", 1)


def test_status_is_text_on_a_terminal(host: Host) -> None:
    assert host.told_to_a_person() == ["there is no run on this host, and no result to fetch"]
    pid = host.detach()
    first, second = host.told_to_a_person()
    assert first.startswith(f"running: PID {pid}, began at 20")
    assert second == "order 0, idle, iteration 1 of 2: 1 GiB"
    host.end()
    first, second, _ = host.told_to_a_person()
    assert first.startswith(f"ended: PID {pid}, began at 20")
    assert second == "exit code 0, in: order 0, idle, iteration 1 of 2: 1 GiB"


def test_a_directory_that_nobody_has_written_to_is_in_nobodys_way(host: Host) -> None:
    host.kept.mkdir(mode=0o700)
    assert host.status()["state"] == "none"
    host.detach()


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

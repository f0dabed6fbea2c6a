# SPDX-License-Identifier: GPL-2.0-only
"""Runs that go on by themselves, with real processes; what they do in place of measuring is ours.

tests/faults has the same with the kernel module and real connections.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detached_host import Host
from page_alloc_bench.runner.detached import run_directory
from waiting import eventually


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.go()
    assert eventually(lambda: made.status()["state"] in ("ended", "none", "killed"))


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
    out, err = attached.communicate(timeout=120)
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
    outcomes = [process.communicate(timeout=120) for process in attached]
    assert [process.returncode for process in attached] == [0, 0]
    assert outcomes[0][0] == outcomes[1][0]
    assert json.loads(outcomes[0][0])["code"] == 0
    assert not host.kept.exists()


# What is trusted.


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_directory, "PARENTS", (str(tmp_path),))
    return tmp_path

# SPDX-License-Identifier: GPL-2.0-only
"""Detached runs are refused, stopped and asked how far they are."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
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

# SPDX-License-Identifier: GPL-2.0-only
"""Where a bundle unpacks to: private, gone afterwards, and never in the way of the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bundle_maker import RAISING_RUNNER, SLEEPING_RUNNER, make_bundle, start
from bundle_runs import report


@pytest.fixture(scope="module")
def bench(plain_bundle: Path) -> Path:
    return plain_bundle


def test_scratch_is_private_and_gone_afterwards(bench: Path, scratch: Path) -> None:
    told = report(start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}))
    assert Path(told["scratch"]).parent == scratch
    assert told["scratch_mode"] == 0o700
    assert told["package"].startswith(told["scratch"])
    assert list(scratch.iterdir()) == []


def test_nothing_appears_in_home(bench: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for command in (["sh", str(bench)], [sys.executable, str(bench)]):
        report(start(command, env={"HOME": str(home)}))
        assert not home.exists()


def test_scratch_is_gone_after_a_crash(tmp_path: Path, scratch: Path) -> None:
    bench = make_bundle(tmp_path / "bench.run", RAISING_RUNNER)
    finished = start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)})
    assert finished.returncode == 1
    assert "on purpose" in finished.stderr
    assert list(scratch.iterdir()) == []


def test_keep_keeps_it(bench: Path, scratch: Path) -> None:
    told = report(start([str(bench), "--keep"], env={"PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}))
    assert [str(path) for path in scratch.iterdir()] == [told["scratch"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, scratch: Path
) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER)
    environment = {**os.environ, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
    with subprocess.Popen([bench], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().strip()
        assert len(list(scratch.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(20) == -number
    assert list(scratch.iterdir()) == []


def test_a_signal_at_any_moment_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER)
    environment = {**os.environ, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
    for step in range(40):
        with subprocess.Popen(
            [bench], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(0.004 * step)
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM
        assert list(scratch.iterdir()) == [], step


def test_nohup_stays_in_force(tmp_path: Path, scratch: Path) -> None:
    bench = make_bundle(tmp_path / "bench.run", SLEEPING_RUNNER)
    command = f"trap '' HUP; exec {bench}"
    environment = {**os.environ, "PAGE_ALLOC_BENCH_TMPDIR": str(scratch)}
    with subprocess.Popen(
        ["sh", "-c", command], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM


def test_places_that_do_not_serve_are_skipped(bench: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    told = report(start([str(bench)], env={"PAGE_ALLOC_BENCH_TMPDIR": missing}))
    assert told["scratch"]
    assert not told["scratch"].startswith(missing)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_noexec_places_are_skipped_and_left_clean(bench: Path, tmp_path: Path) -> None:
    noexec = tmp_path / "noexec"
    noexec.mkdir()
    script = f"""
        mount -t tmpfs -o noexec tmpfs '{noexec}' || exit 77
        PAGE_ALLOC_BENCH_TMPDIR='{noexec}' '{bench}' || exit 1
        ls -A '{noexec}' >&2
    """
    finished = start(["unshare", "--mount", "sh", "-c", script])
    if finished.returncode == 77 or "unshare failed" in finished.stderr:
        pytest.skip("no mounting here")
    assert not report(finished)["scratch"].startswith(str(noexec))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_place_at_all_is_said_and_verbs_still_work(bench: Path, tmp_path: Path) -> None:
    script = f"""
        mount -t tmpfs tmpfs /mnt && cp '{bench}' /mnt/ || exit 77
        for place in /dev/shm /var/tmp /run /tmp; do
            mount -t tmpfs -o noexec tmpfs "$place" || exit 77
        done
        cd /dev/shm
        sh /mnt/bench.run --check || exit 78
        sh /mnt/bench.run
        echo "status $?"
        ls -A /dev/shm /tmp /run /var/tmp | grep page-alloc
    """
    isolated = ["unshare", "--mount", "sh", "-c", script]
    finished = start(isolated, env={"TMPDIR": "/nonexistent", "PAGE_ALLOC_BENCH_TMPDIR": ""})
    if finished.returncode == 77 or "unshare failed" in finished.stderr:
        pytest.skip("no mounting here")
    assert finished.stdout.split() == ["status", "3"]
    assert "no directory to unpack to" in finished.stderr.splitlines()[-1]

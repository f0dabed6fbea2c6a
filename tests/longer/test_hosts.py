# SPDX-License-Identifier: GPL-2.0-only
"""A bundle starts on hosts that make it hard, and leaves them as they were.

Each host is a mount and a PID namespace of this machine with real mounts in it, or a chroot with
nothing but a static busybox. The kernel module is not part of this: tests/vm has whole runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bundle_maker import make_bundle, start
from page_alloc_bench.packager.interpreter import Interpreter
from page_alloc_bench.runner import __main__ as real_runner

ISOLATED = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
BUSYBOX = shutil.which("busybox") or ""
SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]
# Tells of every file, mount and process; the processes of the test itself are shells and helpers.
SNAPSHOT = """
snapshot() {
	for place in /dev/shm /home /run /tmp /var/tmp; do
		find "$place" -xdev
	done 2>/dev/null | sort
	cat /proc/mounts
	processes=$(
		for process in /proc/[0-9]*; do
			tr '\\0\\n' '  ' <"$process/cmdline"
			echo
		done 2>/dev/null
	)
	# Not in one pipeline: it would see itself. This very shell has "snapshot" as an argument.
	echo "$processes" | grep -E 'page-alloc|bench|python|keeper' | grep -v snapshot || :
}
leaves_nothing() { # at once, or as soon as what has just ended is gone
	tries=0
	while [ $tries -lt 40 ]; do # 12 s: the machine may have more to do than this
		snapshot >/mnt/after
		cmp -s /mnt/before /mnt/after && return
		tries=$((tries + 1))
		sleep 0.3
	done
	diff /mnt/before /mnt/after >&2
	exit 1
}
"""
# This machine, made hostile: what is usually writable is noexec, the rest is read-only. Only /run
# is left, and can be taken away too. $1 is the bundle, $2 what is to be /bin/sh.
HOSTILE = """
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
cp "$1" /mnt/bench.run
for place in /dev/shm /tmp /var/tmp /home; do
	mount -t tmpfs -o noexec tmpfs "$place"
done
mount -t tmpfs tmpfs /run
mount --bind "$2" "$(readlink -f /bin/sh)"
mkdir -p "/home/user/a directory"
cp /mnt/bench.run /home/user/
cp /mnt/bench.run "/home/user/a directory/"
ln -s user/bench.run /home/link
mkdir /mnt/bin
cp /mnt/bench.run /mnt/bin/
mount -o remount,ro,bind /
cd /home/user
"""
# A root with a static busybox, the bundle, and what the kernel provides.
APPLIANCE = """
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/bin /mnt/dev /mnt/proc /mnt/root /mnt/tmp /mnt/mnt
cp "$2" /mnt/bin/busybox
for applet in $(/mnt/bin/busybox --list); do
	ln -s busybox /mnt/bin/$applet 2>/dev/null || true
done
cp "$1" /mnt/root/bench.run
mount -t proc proc /mnt/proc
mount --rbind /dev /mnt/dev
mount -t tmpfs tmpfs /mnt/dev/shm # its own: other bundles come and go in this machine's
cat >/mnt/run.sh
exec chroot /mnt /bin/sh -e /run.sh
"""


# The runner with all but the measurement: it waits for /run/go instead.
DETACHABLE_RUNNER = (
    Path(real_runner.__file__)
    .read_text()
    .replace(
        "def main() -> int:",
        """
import time
from . import session
from .lifetime import watchdog
from .telling import output

def fake_run(options, signals, scratch, attendant):
    guard = watchdog.Watchdog([attendant.directory])
    guard.expect(watchdog.TREE, scratch.path)
    scratch.take_over()
    print("under way", file=sys.stderr, flush=True)
    attendant.begun()
    while not os.path.exists("/run/go"):
        time.sleep(0.02)
    output.open_output(options.output_path, lambda _: None).write(["measured\\n"], signals.let_in)
    attendant.written()
    scratch.remove()
    guard.dismiss()
    return 0

session.run = fake_run

def main() -> int:""",
    )
)


def _can_isolate() -> bool:
    if os.geteuid() != 0:
        return False
    script = "mount -t proc proc /proc && mount -t tmpfs tmpfs /mnt"
    done = subprocess.run([*ISOLATED, "sh", "-c", script], capture_output=True, check=False)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not _can_isolate(), reason="needs root and namespaces")


@pytest.fixture(scope="module")
def bench(embedding_bundle: Path) -> Path:
    return embedding_bundle


def on_hostile(
    bench: Path, body: str, *, shell: str = "dash", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run shell commands in /home/user, which holds the bundle; nothing may be left behind."""
    script = f"{SNAPSHOT}{HOSTILE}snapshot >/mnt/before\n{body}\nleaves_nothing\n"
    arguments = ["snapshot", str(bench), shutil.which(shell) or ""]
    # The shell that sets all this up is not the one that is tried.
    return start([*ISOLATED, "bash", "-e", "-c", script, *arguments], env=environment)


def on_appliance(bench: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands in /root, which holds the bundle; nothing may be left behind."""
    script = f"{SNAPSHOT}cd /root\nsnapshot >/mnt/before\n{body}\nleaves_nothing\n"
    command = [*ISOLATED, "sh", "-e", "-c", APPLIANCE, "snapshot", str(bench), BUSYBOX]
    return start(command, input=script, env={"PATH": "/bin:/usr/bin:/sbin:/usr/sbin"})


def answers(finished: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what each start of the reporting runner said."""
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    text = finished.stdout.replace("}{", "}\n{")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("python", ["embedded", ""])
def test_however_it_is_started(python: str, shell: str, bench: Path) -> None:
    """From a noexec file system only a shell can start it; elsewhere it starts itself."""
    body = """
        sh bench.run a
        sh ./bench.run a
        sh "/home/user/a directory/bench.run" a
        sh /home/link a
        cd "/home/user/a directory"; sh bench.run a
        cd /mnt; ./bench.run a
        /mnt/bench.run a
        PATH=/mnt/bin:$PATH; cd /; bench.run a
    """
    told = answers(on_hostile(bench, body, shell=shell, PAGE_ALLOC_BENCH_PYTHON=python))
    assert [one["argv"] for one in told] == [["a"]] * 8
    assert {one["scratch"].partition("/page-alloc-bench.")[0] for one in told} == {"/run"}
    assert {one["scratch_mode"] for one in told} == {0o700}


@pytest.mark.parametrize("python", ["embedded", ""])
def test_whatever_home_is(python: str, bench: Path) -> None:
    body = """
        (unset HOME; sh bench.run unset)
        HOME=/nonexistent sh bench.run missing
        HOME=/usr sh bench.run unwritable
        HOME= sh bench.run empty
    """
    told = answers(on_hostile(bench, body, PAGE_ALLOC_BENCH_PYTHON=python))
    assert [one["argv"] for one in told] == [["unset"], ["missing"], ["unwritable"], ["empty"]]


@pytest.mark.parametrize("python", ["embedded", ""])
def test_where_it_can_unpack_nowhere_it_says_why(python: str, bench: Path) -> None:
    body = "mount -o remount,ro /run; snapshot >/mnt/before; sh bench.run || echo $?"
    finished = on_hostile(bench, body, PAGE_ALLOC_BENCH_PYTHON=python)
    assert (finished.returncode, finished.stdout) == (0, "3\n"), finished.stderr
    assert finished.stderr.count("\n") == 1
    for place in ("/dev/shm", "/var/tmp", "/tmp", "/run"):
        assert f"{place}: " in finished.stderr


def test_a_full_place_is_skipped(bench: Path) -> None:
    body = """
        mkdir /run/small
        mount -t tmpfs -o size=6M tmpfs /run/small
        snapshot >/mnt/before
        PAGE_ALLOC_BENCH_TMPDIR=/run/small sh bench.run a
    """
    (told,) = answers(on_hostile(bench, body, PAGE_ALLOC_BENCH_PYTHON="embedded"))
    assert told["scratch"].startswith("/run/page-alloc-bench.")


@pytest.mark.skipif(not BUSYBOX, reason="no busybox here")
def test_a_host_with_nothing_but_busybox(bench: Path) -> None:
    body = """
        ./bench.run a 'b c'
        sh bench.run a 'b c'
        busybox sh bench.run a 'b c'
        ./bench.run --check 2>/tmp/said
        grep -q 'parts are unchanged' /tmp/said; rm /tmp/said
    """
    told = answers(on_appliance(bench, body))
    assert [one["argv"] for one in told] == [["a", "b c"]] * 3


@pytest.mark.skipif(not BUSYBOX, reason="no busybox here")
def test_a_kill_on_such_a_host_leaves_nothing(bench: Path) -> None:
    """Between 0 and 1 s after its start, which takes less than that."""
    body = """
        for delay in 0 1 2 3 4 5 6 7 8 9; do
            ./bench.run >/dev/null 2>&1 &
            sleep 0.0$delay
            kill -9 $! 2>/dev/null || true
            wait
            ./bench.run >/dev/null 2>&1 &
            sleep 0.$delay
            kill -9 $! 2>/dev/null || true
            wait
        done
    """
    finished = on_appliance(bench, body)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.fixture(scope="module")
def detachable(own_python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "bench.run"
    return make_bundle(path, DETACHABLE_RUNNER, interpreters=[own_python])


@pytest.mark.parametrize("python", ["embedded", ""])
def test_what_is_unpacked_lasts_as_long_as_a_detached_run(python: str, detachable: Path) -> None:
    body = """
        sh bench.run --detach 2>/mnt/said
        sleep 0.5
        [ "$(find /run -name 'page-alloc-bench.*' | wc -l)" = 1 ]
        sh bench.run --status
        touch /run/go
        sh bench.run --attach 2>>/mnt/said
        rm /run/go
    """
    finished = on_hostile(detachable, body, PAGE_ALLOC_BENCH_PYTHON=python)
    assert finished.returncode == 0, finished.stderr
    told, _, rest = finished.stdout.partition("}\n")
    assert json.loads(f"{told}}}")["state"] == "running"
    assert rest == "measured\n"


@pytest.mark.parametrize("python", ["embedded", ""])
def test_a_detached_run_that_is_killed_leaves_nothing_but_its_words(
    python: str, detachable: Path
) -> None:
    body = """
        sh bench.run --detach 2>/mnt/said
        sh bench.run --status >/mnt/status
        kill -9 $(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' /mnt/status)
        sh bench.run --attach || echo $?
    """
    finished = on_hostile(detachable, body, PAGE_ALLOC_BENCH_PYTHON=python)
    assert (finished.returncode, finished.stdout) == (0, "137\n"), finished.stderr
    assert "under way" in finished.stderr


@pytest.mark.parametrize("python", ["embedded", ""])
def test_whenever_its_starter_is_killed_nothing_is_lost_or_left(
    python: str, detachable: Path
) -> None:
    """There is a run or none, and --attach clears up either way."""
    body = """
        touch /run/go
        for delay in 0 1 2 4 6 9; do
            setsid sh bench.run --detach >/dev/null 2>&1 &
            sleep 0.$delay
            kill -9 $! 2>/dev/null || true
            wait
            while pgrep -f '^[^ ]*(python|ld-linux)[^ ]* .*bench.run --detach' >/dev/null; do
                sleep 0.1
            done
            sh bench.run --attach 2>/dev/null || echo $?
        done
        sh bench.run --detach 2>/dev/null
        sh bench.run --attach 2>/dev/null
        rm /run/go
    """
    finished = on_hostile(detachable, body, PAGE_ALLOC_BENCH_PYTHON=python)
    assert finished.returncode == 0, finished.stderr
    outcomes = finished.stdout.split()
    assert len(outcomes) == 7
    assert set(outcomes) <= {"measured", "12"}
    assert outcomes[-1] == "measured"

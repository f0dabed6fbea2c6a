# SPDX-License-Identifier: GPL-2.0-only
"""The throwaway guest itself: what tests may rely on, and that nothing of it stays behind."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lives import processes_naming
from page_alloc_bench.targets.guest import Guest
from page_alloc_bench.targets.process import CommandError, TargetError


def test_machine_is_as_asked(guest: Guest) -> None:
    assert guest.run("uname -r").stdout.strip() == guest.kernel.release
    assert guest.run(["nproc"]).stdout.strip() == "4"
    nodes = guest.run("cat /sys/devices/system/node/online").stdout.strip()
    cpus = guest.run("cat /sys/devices/system/node/node*/cpulist").stdout.split()
    assert (nodes, cpus) == ("0-1", ["0-1", "2-3"])
    totals = guest.run("grep -h MemTotal /sys/devices/system/node/node*/meminfo").stdout
    kib = [int(line.split()[3]) for line in totals.splitlines()]
    assert all(0.9 * 786432 < size <= 786432 for size in kib), kib


def test_kernel_log_is_readable_and_clean(guest: Guest) -> None:
    log = guest.dmesg()
    assert "Linux version " + guest.kernel.release in log
    assert "WARNING" not in log
    assert "BUG" not in log


def test_messages_of_warning_level_reach_log_and_console(guest: Guest) -> None:
    guest.run("echo '<4>page-alloc-bench probe of level 4' >/dev/kmsg")
    assert "page-alloc-bench probe of level 4" in guest.dmesg()
    assert "page-alloc-bench probe of level 4" in guest.console()


def test_bench_is_a_normal_user_that_can_sudo(guest: Guest) -> None:
    assert guest.run("id -u", user="bench").stdout == "1000\n"
    assert guest.run("sudo -n id -u", user="bench").stdout == "0\n"
    assert guest.run("cat /etc/shadow", user="bench", check=False).returncode != 0


def test_python_has_what_a_bundle_needs(guest: Guest) -> None:
    guest.run(["python3", "-c", "import ctypes, json, mmap, zipfile, argparse, resource"])


def test_memory_cgroup_can_be_made(guest: Guest) -> None:
    made = "mkdir /sys/fs/cgroup/probe && cat /sys/fs/cgroup/probe/memory.max"
    try:
        assert guest.run(made).stdout == "max\n"
    finally:
        guest.run("rmdir /sys/fs/cgroup/probe")


def test_words_arrive_unchanged(guest: Guest) -> None:
    words = ["a b", "it's", "$HOME", '"', "*", "", "é\n"]
    out = guest.run(["python3", "-c", "import sys; print(sys.argv[1:])", *words]).stdout
    assert out.strip() == str(words)


def test_input_output_and_status(guest: Guest) -> None:
    done = guest.run("cat; echo error >&2; exit 7", check=False, input="given")
    assert (done.stdout, done.stderr, done.returncode) == ("given", "error\n", 7)
    with pytest.raises(CommandError, match=r"(?s)exit status 7.*told") as caught:
        guest.run("echo told >&2; exit 7")
    assert caught.value.returncode == 7


def test_status_255_is_the_commands_own(guest: Guest) -> None:
    assert guest.run("exit 255", check=False).returncode == 255


def test_timeout_is_an_error_and_the_guest_lives(guest: Guest) -> None:
    with pytest.raises(TargetError, match=r"no end after 0\.5 s"):
        guest.run("sleep 5", timeout=0.5)
    assert guest.run("echo on").stdout == "on\n"


def test_popen_streams(guest: Guest) -> None:
    process = guest.popen("echo first; sleep 30", stdout=subprocess.PIPE, text=True)
    try:
        started = time.monotonic()
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        assert time.monotonic() - started < 15
    finally:
        process.kill()
        process.communicate()


def test_commands_run_side_by_side(guest: Guest) -> None:
    results: list[str] = []

    def work(number: int) -> None:
        results.append(guest.run(f"echo {number}", user="bench").stdout.strip())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [str(number) for number in range(8)]


def test_copies_both_ways_keep_bytes_and_modes(guest: Guest, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(3_000_000))
    there.chmod(0o750)
    guest.copy_to(there, "/home/bench/copied", user="bench")
    assert guest.run("stat -c '%U %a' /home/bench/copied").stdout == "bench 750\n"
    guest.copy_from("/home/bench/copied", back)
    guest.run("rm /home/bench/copied")
    assert back.read_bytes() == there.read_bytes()
    assert back.stat().st_mode & 0o777 == 0o750
    with pytest.raises(TargetError, match="No such file"):
        guest.copy_from("/nowhere", back)


def test_a_guest_leaves_nothing() -> None:
    with Guest(cpus=2, nodes=3, memory="1G") as guest:
        assert guest.run("uname -r").stdout.strip() == guest.kernel.release
        assert guest.run("cat /sys/devices/system/node/has_memory").stdout.strip() == "0-2"
        assert guest.run("cat /sys/devices/system/node/has_cpu").stdout.strip() == "0-1"
        assert "WARNING" not in guest.dmesg()
        scratch = guest.scratch
        assert scratch is not None
        # QEMU, its keeper and the ssh master.
        assert len(processes_naming(str(scratch))) == 3
    assert not scratch.exists()
    assert processes_naming(str(scratch)) == []
    assert "guest: ready" in guest.console()
    with pytest.raises(TargetError, match="not running"):
        guest.run("true")

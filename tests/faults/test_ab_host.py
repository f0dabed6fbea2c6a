# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons on a host that is restarted: a guest with two kernels in its /boot plays the host.

A reset of the guest stands for switching the power off and on.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import kexec_host
import waiting
from kexec_host import KexecHost
from restarting import (
    BOOT,
    FIRST_IS_NEW,
    ONE,
    ab,
    answers,
    attempts,
    command,
    ends,
    make_bundles,
    reset,
    shell,
)

# Also what decides which kernel a host boots: it is all in files.
FILES = (
    "find / -xdev -type f ! -path '/var/log/*' ! -path '/root/*' | sort; "
    "find /boot /etc -xdev -type f | sort | xargs sha256sum; "
    "ls -d /run/page-alloc-bench* 2>&1; cat /sys/kernel/kexec_loaded"
)
DEBUG = ("--allow-difference", "debug.KFENCE")  # Debian's two kernels differ in it


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KexecHost]:
    with kexec_host.kexec_host(tmp_path_factory.mktemp("host")) as booted:
        yield booted


@pytest.fixture
def systemd_host(tmp_path: Path) -> Iterator[KexecHost]:
    with kexec_host.kexec_host(tmp_path, "bookworm-systemd") as booted:
        yield booted


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundles(tmp_path_factory.mktemp("bundles"), kexec_host.KERNELS)


def test_two_kernels_are_compared_by_kexec_and_the_default_one_is_left(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    boot, files = shell(host, BOOT), shell(host, FILES)
    done = ab(host, bundles, "--dir", str(tmp_path), "--max-boots", "4", "--yes", *DEBUG)
    assert done.returncode in (0, 1, 2), done.stderr
    order = json.loads((tmp_path / "plan.json").read_text())["schedule"]
    assert ends(tmp_path) == [(side, "ok") for side in order]
    for side, release in (("base", host.old), ("new", host.new)):
        results = [json.loads(path.read_text()) for path in (tmp_path / side).iterdir()]
        assert {each["run"]["kernel"]["release"] for each in results} == {release}
        assert len({each["run"]["boot_id"] for each in results}) == 4
    assert "machine: host, 1 CPUs, 1 nodes" in done.stdout
    assert shell(host, "uname -r").strip() == host.old
    assert shell(host, BOOT) != boot
    assert shell(host, FILES) == files


def test_a_host_with_systemd_is_restarted_by_it(
    systemd_host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    files = shell(systemd_host, FILES)
    words = ["--dir", str(tmp_path / "ab"), "--seed", FIRST_IS_NEW, *ONE, "--yes"]
    done = ab(systemd_host, bundles, *words)
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path / "ab") == [("new", "ok")]
    assert f"host: {systemd_host.old} runs" in done.stderr
    assert shell(systemd_host, "uname -r").strip() == systemd_host.old
    assert shell(systemd_host, FILES) == files


def test_a_killed_comparison_leaves_a_host_that_any_restart_mends(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    """Killed while the new kernel runs, and the benchmark in it."""
    files = shell(host, FILES)
    words = ["--dir", str(tmp_path), "--seed", FIRST_IS_NEW, "--yes"]
    words += ["--console", host.console_command]
    with tempfile.TemporaryDirectory() as own:  # a short name
        process = subprocess.Popen(
            command(host, bundles, *words), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": own},
        )  # fmt: skip
        try:
            begun = "ls /run/page-alloc-bench-ab/said"
            assert waiting.in_a_guest(lambda: answers(host, host.new, begun), 900)
            assert any(Path(own).iterdir())
        finally:
            process.kill()
            process.wait()
        assert waiting.eventually(lambda: not any(Path(own).iterdir()))
    consoles = ["pgrep", "-f", host.console_command]
    assert subprocess.run(consoles, check=False, capture_output=True).returncode == 1
    reset(host)
    assert shell(host, FILES) == files


def test_what_would_be_done_is_told_and_nothing_done_without_consent(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    boot, files = shell(host, BOOT), shell(host, FILES)
    done = ab(host, bundles, "--dir", str(tmp_path), "--plan")
    assert done.returncode == 0, done.stderr
    for told in (f"into {host.old}", f"new: {host.new}", "kexec -l", "as root", "no --power-hook"):
        assert told in done.stderr
    asked = ab(host, bundles, "--dir", str(tmp_path))
    assert asked.returncode == 3
    assert "give --yes" in asked.stderr
    assert (shell(host, BOOT), shell(host, FILES)) == (boot, files)
    assert not (tmp_path / "plan.json").exists()


def test_a_user_with_sudo_can_do_it_too_by_a_hook_of_his_own(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    hook = tmp_path / "hook"
    load = "/usr/sbin/kexec -l /boot/vmlinuz-$2 --initrd=/boot/initrd.img-$2 --reuse-cmdline"
    down = "sync; (sleep 1; /usr/sbin/kexec -e) </dev/null >/dev/null 2>&1 &"
    hook.write_text(f'#!/bin/sh\nexec {host.ssh} root@$1 "{load} || exit; {down}"\n')
    hook.chmod(0o755)
    way = ["--boot", "hook", "--boot-hook", str(hook), "--ssh", f"{host.ssh} -l bench"]
    words = ["--dir", str(tmp_path / "ab"), "--seed", FIRST_IS_NEW, *ONE, "--yes", *way]
    done = ab(host, bundles, *words)
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path / "ab") == [("new", "ok")]
    assert shell(host, "uname -r").strip() == host.old


def test_a_kernel_that_panics_and_restarts_the_host_is_told(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    """The guest has panic=-1 on its command line: it comes back by itself, in its default."""
    words = ["--dir", str(tmp_path), "--seed", FIRST_IS_NEW, *ONE, "--yes"]
    done = ab(host, bundles, *words, "--cmdline-new", "rdinit=/none root=/dev/none")
    assert done.returncode == 4, done.stderr
    assert ends(tmp_path) == [("new", "panic")]
    (made,) = attempts(tmp_path)
    assert made["reason"].startswith(f"{host.old} came up, not {host.new}")
    assert not list(tmp_path.glob("new/*"))
    assert shell(host, "uname -r").strip() == host.old


def test_a_kernel_that_panics_at_once_and_stands_still_is_switched_off_and_on(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    words = ["--dir", str(tmp_path), "--seed", FIRST_IS_NEW, *ONE, "--yes"]
    words += ["--cmdline-new", "panic=0 rdinit=/none root=/dev/none", "--back-within", "2m"]
    words += ["--power-hook", host.power_hook, "--console", host.console_command]
    done = ab(host, bundles, *words)
    assert done.returncode == 4, done.stderr
    assert ends(tmp_path) == [("new", "panic")]
    (made,) = attempts(tmp_path)
    assert made["reason"].startswith(
        f"{host.new} did not answer within 120 s; after --power-hook {host.old} came up; "
        "its console has: Kernel panic - not syncing"
    )
    assert "Kernel panic" in (tmp_path / made["console"]).read_text()
    assert "calling --power-hook" in done.stderr
    assert "1 panic" in done.stdout
    assert shell(host, "uname -r").strip() == host.old


def test_a_host_that_does_not_come_back_ends_it_with_what_to_do(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    files = shell(host, FILES)
    words = ["--dir", str(tmp_path), "--seed", FIRST_IS_NEW, "--yes", "--back-within", "3m"]
    done = ab(host, bundles, *words, "--cmdline-new", "panic=0 rdinit=/none root=/dev/none")
    assert done.returncode == 5, done.stderr
    (made,) = attempts(tmp_path)
    assert made["reason"] == f"{host.new} did not answer within 180 s; the host is down"
    assert (
        "error: host: it does not answer: switch it off and on: it starts its default kernel; "
        "--power-hook CMD has that done\n"
        "when it answers, the same command goes on"
    ) in done.stderr
    reset(host)
    assert shell(host, FILES) == files


def test_an_image_of_another_kernel_than_its_name_says_is_not_booted(
    host: KexecHost, bundles: Path, tmp_path: Path
) -> None:
    """What is called the new kernel is the old one."""
    image = f"/boot/vmlinuz-{host.new}"
    shell(host, f"mv {image} /root/image; cp /boot/vmlinuz-{host.old} {image}; sync")
    shell(host, f"mv /boot/initrd.img-{host.new} /root/initrd; "
          f"cp /boot/initrd.img-{host.old} /boot/initrd.img-{host.new}; sync")  # fmt: skip
    boot = shell(host, BOOT)
    try:
        done = ab(host, bundles, "--dir", str(tmp_path), "--seed", FIRST_IS_NEW, *ONE, "--yes")
        assert done.returncode == 3, done.stderr
        told = " ".join(done.stderr.split())
        assert f"6.12.run is for another build of {host.new}: uname -v of that is #" in told
        assert shell(host, BOOT) == boot
        assert not list(tmp_path.glob("new/*"))
    finally:
        shell(host, f"mv /root/image {image}; mv /root/initrd /boot/initrd.img-{host.new}; sync")

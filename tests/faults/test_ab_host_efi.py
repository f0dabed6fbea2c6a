# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons on a host that is entered by EFI's BootNext: a guest with OVMF, GRUB and systemd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import disk_host
from disk_host import DiskHost
from kexec_host import NO_WATCHDOG
from page_alloc_bench.targets import kernels
from restarting import (
    BOOT,
    FIRST_IS_NEW,
    ONE,
    STATE,
    ab,
    attempts,
    ends,
    make_bundles,
    release_in,
    shell,
    uninstall,
)

# What is booted when, and all that is on the system partition.
EFI_STATE = (
    f"({STATE}); cd /sys/firmware/efi/efivars && sha256sum Boot*; grep /boot/efi /proc/mounts; "
    "find /boot/efi -type f | sort | xargs sha256sum"
)
CMDLINE = "cat /proc/cmdline"
WAY = ("--boot", "efi", "--seed", FIRST_IS_NEW, *ONE, "--yes")
QUIET = ("--cmdline-base", NO_WATCHDOG, "--cmdline-new", NO_WATCHDOG)


@pytest.fixture(scope="module")
def host() -> Iterator[DiskHost]:
    with DiskHost(efi=True) as booted:
        # The disk is not there within a second where this machine is busy.
        edit = "sed -i s/device-timeout=1s/device-timeout=10min/ /etc/fstab"
        shell(booted, f"{edit} && systemctl daemon-reload && mount /boot/efi")
        yield booted


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundles(tmp_path_factory.mktemp("bundles"), disk_host.KERNELS)


def test_bootnext_boots_once_and_leaves_the_firmware_as_it_was(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    state, boot, cmdline = shell(host, EFI_STATE), shell(host, BOOT), shell(host, CMDLINE)
    done = ab(host, bundles, "--dir", str(tmp_path), *WAY, *QUIET)
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path) == [("new", "ok")]
    assert release_in(tmp_path / "new") == host.new
    assert shell(host, "uname -r").strip() == host.old
    assert shell(host, BOOT) != boot
    assert shell(host, CMDLINE) == cmdline
    assert "page-alloc-bench" not in shell(host, "efibootmgr")
    copies = shell(host, "ls /boot/efi/EFI/page-alloc-bench").split()
    assert sorted(copies) == [host.old, host.new]
    removed = uninstall(host)
    assert removed.returncode == 0, removed.stderr
    assert f"removed {host.old}, {host.new}" in " ".join(removed.stderr.split())
    assert shell(host, EFI_STATE) == state


def test_a_kernel_from_here_that_comes_up_without_variables_leaves_nothing(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    state, release = shell(host, EFI_STATE), kernels.fetch("5.10").release
    done = ab(host, bundles, "--dir", str(tmp_path), *WAY, "--cmdline-new", "efi=noruntime",
              new="5.10")  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path) == [("new", "ok")]
    assert release_in(tmp_path / "new") == release
    assert "page-alloc-bench" not in shell(host, "efibootmgr")
    removed = uninstall(host)
    assert removed.returncode == 0, removed.stderr
    assert f"removed {release}, {host.old}" in " ".join(removed.stderr.split())
    assert shell(host, EFI_STATE) == state


def test_a_kernel_that_panics_after_bootnext_comes_back_to_the_default(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    state = shell(host, EFI_STATE)
    broken = ["--cmdline-new", "panic=-1 rdinit=/none root=/dev/none"]
    done = ab(host, bundles, "--dir", str(tmp_path), *WAY, *broken)
    assert done.returncode == 4, done.stderr
    assert ends(tmp_path) == [("new", "panic")]
    (made,) = attempts(tmp_path)
    assert made["reason"].startswith(f"{host.old} came up, not {host.new}: the kernel was started")
    assert not list(tmp_path.glob("new/*"))
    assert shell(host, "uname -r").strip() == host.old
    assert uninstall(host).returncode == 0
    assert shell(host, EFI_STATE) == state


def test_a_host_whose_variables_are_read_only_is_left_alone(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    remount = "mount -o remount,{} /sys/firmware/efi/efivars"
    shell(host, remount.format("ro"))
    try:
        boot, state = shell(host, BOOT), shell(host, EFI_STATE)
        done = ab(host, bundles, "--dir", str(tmp_path), *WAY)
        assert done.returncode == 3
        assert "EFI's variables are read-only" in " ".join(done.stderr.split())
        assert (shell(host, BOOT), shell(host, EFI_STATE)) == (boot, state)
    finally:
        shell(host, remount.format("rw"))

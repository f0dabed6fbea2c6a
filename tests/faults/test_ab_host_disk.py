# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons on a host that boots from its disk: a guest with GRUB, systemd and two kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import disk_host
from bundle_maker import make_bundle
from disk_host import DiskHost, write_menu
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
    with_module_for,
)  # fmt: skip


@pytest.fixture(scope="module")
def host() -> Iterator[DiskHost]:
    with DiskHost() as booted:
        write_menu(booted)
        yield booted


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundles(tmp_path_factory.mktemp("bundles"), disk_host.KERNELS)


def test_a_one_shot_entry_of_grub_boots_once_and_leaves_boot_as_it_was(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    state, boot = shell(host, STATE), shell(host, BOOT)
    words = ["--dir", str(tmp_path), "--seed", FIRST_IS_NEW, *ONE, "--yes", "--boot", "grub"]
    done = ab(host, bundles, *words)
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path) == [("new", "ok")]
    assert release_in(tmp_path / "new") == host.new
    assert shell(host, "uname -r").strip() == host.old
    assert shell(host, BOOT) != boot
    assert shell(host, STATE) == state


@pytest.mark.parametrize("boot", ["kexec", "grub"])
def test_a_kernel_from_here_is_installed_beside_the_hosts_own_and_removed(
    host: DiskHost, bundles: Path, boot: str, tmp_path: Path
) -> None:
    state, release = shell(host, STATE), kernels.fetch("5.10").release
    words = ["--dir", str(tmp_path), "--seed", FIRST_IS_NEW, *ONE, "--yes", "--boot", boot]
    done = ab(host, bundles, *words, new="5.10")
    assert done.returncode == 2, done.stderr
    assert ends(tmp_path) == [("new", "ok")]
    assert release_in(tmp_path / "new") == release
    there = f"/boot/page-alloc-bench/{release}/vmlinuz /lib/modules/{release}/page-alloc-bench"
    assert shell(host, f"ls {there}").split() == there.split()
    named = f"cat /boot/grub/custom.cfg 2>/dev/null | grep -c {release}/vmlinuz || true"
    assert shell(host, named).strip() == str(int(boot == "grub"))
    assert shell(host, "uname -r").strip() == host.old
    removed = uninstall(host)
    assert removed.returncode == 0, removed.stderr
    assert f"removed {release}" in removed.stderr
    assert shell(host, STATE) == state
    again = uninstall(host)
    assert again.returncode == 0
    assert "nothing is installed there" in again.stderr


def test_a_kernel_from_here_replaces_none_of_the_hosts_own(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    state = shell(host, STATE)
    done = ab(host, bundles, "--dir", str(tmp_path), "--yes", new=disk_host.KERNELS[1])
    assert done.returncode == 3
    assert f"has a kernel {host.new} of its own" in " ".join(done.stderr.split())
    assert shell(host, STATE) == state


@pytest.fixture
def broken(host: DiskHost) -> Iterator[str]:
    """A release whose kernel panics at once, for want of a root, and stands still."""
    release = f"{host.new}-broken"
    image, initrd = f"/boot/vmlinuz-{release}", f"/boot/initrd.img-{release}"
    modules = f"/lib/modules/{release}"
    shell(host, f"cp /boot/vmlinuz-{host.new} {image} && mkdir {modules} && cd / && "
          f"echo dev | cpio -o -H newc >{initrd} && update-grub")  # fmt: skip
    yield release
    shell(host, f"rm -r {image} {initrd} {modules} && update-grub")


def test_a_kernel_that_panics_after_a_one_shot_is_told_and_the_host_switched_off_and_on(
    host: DiskHost, bundles: Path, broken: str, tmp_path: Path
) -> None:
    state, place = shell(host, STATE), tmp_path / "ab"
    words = ["--dir", str(place), "--seed", FIRST_IS_NEW, *ONE, "--yes"]
    words += ["--boot", "grub", "--power-hook", host.power_hook, "--back-within", "4m"]
    words += ["--console", host.console_command]
    done = ab(host, with_module_for(bundles, broken, tmp_path / "bundles"), *words, new=broken)
    assert done.returncode == 4, done.stderr
    (made,) = attempts(place)
    assert (made["side"], made["end"]) == ("new", "panic")
    assert made["reason"].startswith(
        f"{broken} did not answer within 240 s; after --power-hook {host.old} came up; "
        "its console has: Kernel panic - not syncing"
    )
    assert "Kernel panic" in (place / made["console"]).read_text()
    assert "calling --power-hook" in done.stderr
    assert "1 panic" in done.stdout
    assert not list(place.glob("new/*"))
    assert shell(host, "uname -r").strip() == host.old
    assert shell(host, STATE) == state


@pytest.fixture
def liar(host: DiskHost) -> Iterator[str]:
    """A release by its name whose kernel is another."""
    release = f"{host.old}-liar"
    copy = f"for what in vmlinuz initrd.img; do cp $what-{host.old} $what-{release}; done"
    shell(host, f"cd /boot; {copy}; mkdir /lib/modules/{release} && update-grub")
    yield release
    shell(host, f"rm -r /boot/*-{release} /lib/modules/{release} && update-grub")


def test_another_kernel_than_grub_was_asked_for_is_told_by_name_and_not_measured(
    host: DiskHost, bundles: Path, liar: str, tmp_path: Path
) -> None:
    both, place = with_module_for(bundles, liar, tmp_path / "bundles"), tmp_path / "ab"
    state, boot = shell(host, STATE), shell(host, BOOT)
    words = ["--dir", str(place), "--seed", FIRST_IS_NEW, *ONE, "--yes", "--boot", "grub"]
    done = ab(host, both, *words, new=liar)
    assert done.returncode == 3, done.stderr
    (made,) = attempts(place)
    assert (made["side"], made["end"]) == ("new", "wrong-kernel")
    why = f"{host.old} came up, not {liar}: the image of that name is of {host.old}"
    assert made["reason"] == why
    assert not list(place.glob("*/*.json"))
    assert shell(host, "uname -r").strip() == host.old
    assert shell(host, BOOT) != boot
    assert shell(host, STATE) == state


def test_another_build_than_was_asked_for_is_told_and_not_measured(
    host: DiskHost, tmp_path: Path
) -> None:
    """The image says that it was built for the second time, and what it boots for the first."""
    image, bundles = f"/boot/vmlinuz-{host.new}", tmp_path / "bundles"
    bundles.mkdir()
    for release in (host.old, host.new):
        make_bundle(bundles / f"{release}.run", release=release)
    shell(host, f"cp {image} /root/image && LC_ALL=C sed -i 's/ #1 SMP/ #2 SMP/' {image}")
    try:
        state, place = shell(host, STATE), tmp_path / "ab"
        words = ["--dir", str(place), "--seed", FIRST_IS_NEW, *ONE, "--yes"]
        done = ab(host, bundles, *words)
        assert done.returncode == 3, done.stderr
        (made,) = attempts(place)
        assert (made["side"], made["end"]) == ("new", "wrong-kernel")
        why = f"another build of {host.new} came up than was asked for: its uname -v is #1 SMP"
        assert made["reason"].startswith(why)
        assert ", not #2 SMP" in made["reason"]
        assert not list(place.glob("*/*.json"))
        assert shell(host, "uname -r").strip() == host.old
        assert shell(host, STATE) == state
    finally:
        shell(host, f"mv /root/image {image}")


def test_grub_is_refused_where_its_environment_is_on_lvm(
    host: DiskHost, bundles: Path, tmp_path: Path
) -> None:
    shell(
        host,
        "truncate -s 100M /var/tmp/pv && pv=$(losetup -f --show /var/tmp/pv) && "
        "vgcreate -q vg $pv && lvcreate -q -y -Zn -l 100%FREE -n lv vg && mkfs.ext4 -q /dev/vg/lv "
        "&& mount /dev/vg/lv /mnt && cp -r /boot/grub/. /mnt && umount /mnt && "
        "mount /dev/vg/lv /boot/grub",
    )
    try:
        boot, state = shell(host, BOOT), shell(host, STATE)
        done = ab(host, bundles, "--dir", str(tmp_path), "--yes", "--boot", "grub")
        assert done.returncode == 3
        said = " ".join(done.stderr.split())
        assert "GRUB cannot write its environment, which is on ext2 on lvm" in said
        assert "use --boot kexec" in said
        assert (shell(host, BOOT), shell(host, STATE)) == (boot, state)
    finally:
        shell(host, "umount /boot/grub; vgremove -q -f vg; losetup -D; rm /var/tmp/pv")

# SPDX-License-Identifier: GPL-2.0-only
"""A guest that plays a real host: its own disk with GRUB, systemd, two kernels, reached by ssh.

QEMU gets no kernel: the firmware starts GRUB from the disk, and a reset starts it again.
"""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kexec_host import NO_WATCHDOG
from page_alloc_bench.targets import bootstrap, cache, kernels, keys, qmp
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.machine import machine
from page_alloc_bench.targets.process import need
from page_alloc_bench.targets.qemu import Qemu
from restarting import shell

KERNELS = ("6.1", "6.12")  # the first is the default
UP_S = 900  # until ssh answers, however busy this host is
_PACKAGES = (
    *("systemd-sysv", "libpam-systemd", "dbus", "udev", "openssh-server", "sudo", "kmod"),
    *("procps", "iproute2", "initramfs-tools", "kexec-tools", "grub-pc-bin", "grub2-common"),
    *("lvm2", "efibootmgr", "dosfstools", "mtools", "grub-efi-amd64-bin", "ovmf", "cpio"),
)
_SECTOR, _START = 512, 1 << 20  # where the partition begins, in bytes
_SIZE_MIB, _ESP_MIB = 1500, 192
_WORDS = "console=ttyS0 no_timer_check net.ifnames=0 watchdog_thresh=30 loglevel=5 log_buf_len=4M"
_FIRST_CFG = """\
linux /boot/vmlinuz-{release} root=UUID={uuid} ro {words}
initrd /boot/initrd.img-{release}
boot
"""
UUID = "0c7b7f6c-6b0e-4f50-9a8e-2f5d5e1c7a10"
_FILES = {
    "etc/fstab": (
        f"UUID={UUID} / ext4 errors=remount-ro 0 1\n"
        "LABEL=PAB-ESP /boot/efi vfat nofail,x-systemd.device-timeout=1s 0 0\n"
    ),
    "etc/hostname": "disk-host\n",
    "etc/hosts": "127.0.0.1 localhost disk-host\n",
    "etc/default/grub": (
        'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_TERMINAL="serial"\nGRUB_DISTRIBUTOR=Debian\n'
        f'GRUB_SERIAL_COMMAND="serial --unit=0"\nGRUB_CMDLINE_LINUX="{_WORDS}"\n'
    ),
    "etc/systemd/network/eth0.network": (
        "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
    ),
    "etc/ssh/sshd_config.d/host.conf": (
        "UseDNS no\nPermitRootLogin prohibit-password\nLoginGraceTime 0\n"
    ),
    "etc/sudoers.d/bench": "bench ALL=(ALL) NOPASSWD: ALL\n",
}
_MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer "
    "e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service "
    "kexec-load.service systemd-networkd-wait-online.service"
)


def images() -> Path:
    """Return the directory of the disks and the EFI firmware, made in the cache if need be."""
    found = [kernels.fetch(name) for name in KERNELS]
    made_of = (_FILES, _PACKAGES, _SIZE_MIB, _FIRST_CFG, _customize(found, Path("/extra")))
    key = cache.digest(*map(str, made_of))
    return cache.entry(
        "tests", f"disk-host-{key}", lambda temporary, _final: _build(found, temporary),
        "a disk with GRUB and two kernels, for the tests (a few minutes)",
    )  # fmt: skip


def _build(found: Sequence[FetchedKernel], temporary: Path) -> None:
    debian = bootstrap.Debian(("bookworm", "bookworm-security"), _PACKAGES)
    root = temporary / "root.ext4"
    with tempfile.TemporaryDirectory(prefix="pab-extra.", dir=temporary) as extra:
        _write_extra(found, Path(extra))
        bootstrap.image(debian, root, _SIZE_MIB, _customize(found, Path(extra)))
        boot = Path(extra) / "boot"
        grub = (boot / "boot.img").read_bytes(), (boot / "core.img").read_bytes()
        for name in ("OVMF_CODE.fd", "OVMF_VARS.fd"):
            shutil.copy(boot / name, temporary / name)
        with (temporary / "esp").open("wb") as file:
            size = _ESP_MIB << 20
            file.truncate(_START + size)
            file.write(bytes(440) + b"PAB\1" + bytes(2) + _partition(size, 0xEF) + bytes(48))
            file.write(b"\x55\xaa")
        _copy(boot / "esp", temporary / "esp")
    subprocess.run(
        [need("tune2fs", "e2fsprogs"), "-j", "-U", UUID, root], check=True, capture_output=True
    )
    disk = temporary / "disk"
    with disk.open("wb") as file:
        file.truncate(_START + root.stat().st_size)
        # boot.img expects the core at sector 1, and grub-mkimage says in the core how long it is.
        file.write(grub[0][:440] + bytes(6) + _partition(root.stat().st_size) + bytes(48))
        file.write(b"\x55\xaa" + grub[1])
        assert file.tell() < _START
    _copy(root, disk)
    root.unlink()
    disk.chmod(0o600)


def _copy(source: Path, disk: Path) -> None:
    """Put a file system into the partition of a disk."""
    words = ["dd", f"if={source}", f"of={disk}", "bs=1M", "seek=1", "conv=sparse,notrunc"]
    subprocess.run(words, check=True, capture_output=True)


def _partition(size: int, kind: int = 0x83) -> bytes:
    """Return the entry of a partition table for one that a firmware may boot."""
    return struct.pack(
        "<B3sB3sII", 0x80, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", _START // _SECTOR,
        size // _SECTOR,
    )  # fmt: skip


def _write_extra(found: Sequence[FetchedKernel], extra: Path) -> None:
    """Write the files that _customize() puts in place."""
    for name, text in _FILES.items():
        path = extra / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cfg = _FIRST_CFG.format(release=found[0].release, uuid=UUID, words=_WORDS)
    (extra / "grub.cfg").write_text(cfg)


def _customize(found: Sequence[FetchedKernel], extra: Path) -> str:
    """Return shell words that make the tree "$1" a host; they leave GRUB's images in EXTRA/boot."""
    login = keys.get_keys()
    lines = [
        "set -e",
        f'cp -r {extra}/tree/. "$1"/',
        'chroot "$1" useradd -m -s /bin/bash -p "*" bench',
        'rm -f "$1"/etc/ssh/ssh_host_*',
        f'install -m 600 {login.host} "$1"/etc/ssh/ssh_host_ed25519_key',
        *(
            f'install -d -m 700 "$1"{home}/.ssh\n'
            f'install -m 600 {login.login}.pub "$1"{home}/.ssh/authorized_keys'
            for home in ("/root", "/home/bench")
        ),
        'chroot "$1" chown -R bench:bench /home/bench/.ssh',
        'chroot "$1" systemd-machine-id-setup',
        'chroot "$1" systemctl enable systemd-networkd ssh',
        f'chroot "$1" systemctl mask {_MASKED}',
    ]
    for kernel in found:
        release = kernel.release
        lines += [
            f'install -m 644 {kernel.vmlinuz} "$1"/boot/vmlinuz-{release}',
            f'cp {kernel.modules_dir.parents[2]}/boot/config-{release} "$1"/boot/',
            'mkdir -p "$1"/lib/modules',
            f'cp -r {kernel.modules_dir} "$1"/lib/modules/',
            f'chroot "$1" depmod {release}',
            f'chroot "$1" update-initramfs -c -k {release}',
        ]
    lines += [*_grub(extra), *_grub_for_efi(extra)]
    lines.append('rm -rf "$1"/usr/share/OVMF "$1"/usr/share/ovmf "$1"/usr/share/qemu "$1"/tmp/*')
    return "\n".join(lines)


def _grub(extra: Path) -> list[str]:
    """Return lines that give the tree a GRUB for a BIOS."""
    return [
        'mkdir -p "$1"/boot/grub',
        'cp -r "$1"/usr/lib/grub/i386-pc "$1"/boot/grub/',
        'chroot "$1" grub-editenv /boot/grub/grubenv create',
        f'cp {extra}/grub.cfg "$1"/boot/grub/grub.cfg',
        'chroot "$1" grub-mkimage -O i386-pc -o /tmp/core.img -p "(hd0,msdos1)/boot/grub" '
        "biosdisk part_msdos ext2 normal",
        f'mkdir {extra}/boot && mv "$1"/tmp/core.img {extra}/boot/',
        f'cp "$1"/usr/lib/grub/i386-pc/boot.img {extra}/boot/',
    ]


def _grub_for_efi(extra: Path) -> list[str]:
    """Return lines for a firmware that is EFI's: a disk with GRUB for that, and the firmware."""
    return [
        f"truncate -s {_ESP_MIB}M {extra}/boot/esp",
        f'mv {extra}/boot/esp "$1"/tmp/esp',
        'mkdir -p "$1"/boot/efi',
        'chroot "$1" mkfs.vfat -n PAB-ESP /tmp/esp',
        'chroot "$1" sh -ec "mmd -i /tmp/esp ::EFI ::EFI/BOOT && '
        f"printf '%s\\n' 'search.fs_uuid {UUID} root' 'configfile /boot/grub/grub.cfg' "
        ">/tmp/first.cfg && "  # a line each: that parser knows no semicolon
        "grub-mkimage -O x86_64-efi -o /tmp/boot.efi -p /boot/grub -c /tmp/first.cfg part_msdos "
        "ext2 fat search search_fs_uuid configfile normal linux serial terminal loadenv test echo "
        'gzio all_video && mcopy -i /tmp/esp /tmp/boot.efi ::EFI/BOOT/BOOTX64.EFI"',
        f'mv "$1"/tmp/esp {extra}/boot/esp',
        f'cp "$1"/usr/share/OVMF/OVMF_CODE.fd "$1"/usr/share/OVMF/OVMF_VARS.fd {extra}/boot/',
    ]


class DiskHost:
    """A host that boots from its disk; a context manager whose body runs once ssh answers.

    efi: whether its firmware is EFI's, else it is a BIOS. old, new: releases of its kernels.
    """

    def __init__(self, *, efi: bool = False, cpus: int = 2, memory: str = "1G") -> None:
        self._efi = efi
        self.old, self.new = (kernels.fetch(name).release for name in KERNELS)
        self._machine = machine(cpus, 1, memory)
        self._qemu: Qemu | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="pab-host."))

    def __enter__(self) -> DiskHost:
        found = images()
        self._keys = keys.get_keys()
        self._qemu = Qemu()
        scratch = self._qemu.scratch
        try:
            self._qemu.start([
                need("qemu-system-x86_64", "qemu-system-x86"), *self._board(),
                *("-nodefaults", "-display", "none", "-serial", f"file:{scratch}/console"),
                *("-qmp", f"unix:{scratch}/qmp,server=on,wait=off"),
                *_disk("d", found / "disk"),
                *(_firmware(found, scratch) if self._efi else ()),
                *("-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22"),
                *("-device", "virtio-net-pci,netdev=n,romfile="),
            ])  # fmt: skip
            self._write_config()
            self._await_ssh()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._qemu is not None:
            self._qemu.remove()
            self._qemu = None
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def ssh(self) -> str:
        """The ssh client and the words with which it knows this host as "host"."""
        return f"ssh -F {self.directory}/config"

    @property
    def power_hook(self) -> str:
        """A command that resets it, as one that switches the power off and on."""
        assert self._qemu is not None
        code = "import sys; from page_alloc_bench.targets import qmp; from pathlib import Path; "
        code += "qmp.ask(Path(sys.argv[1]), 'system_reset')"
        return shlex.join([sys.executable, "-c", code, str(self._qemu.scratch)])

    @property
    def console_command(self) -> str:
        """A command that writes what the serial port writes from now on."""
        assert self._qemu is not None
        return f"tail -n 0 -f {self._qemu.scratch}/console"

    def _board(self) -> list[str]:
        """Return QEMU's arguments for the machine.

        EFI's firmware has what is translated thrown away again and again: let it be little.
        """
        few = {"tcg,thread=multi": "tcg,thread=multi,tb-size=128"} if self._efi else {}
        return [few.get(word, word) for word in self._machine.arguments()]

    def _write_config(self) -> None:
        assert self._qemu is not None
        deadline = time.monotonic() + 60
        while True:
            try:
                text = qmp.ask(
                    self._qemu.scratch, "human-monitor-command", {"command-line": "info usernet"}
                )
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
                continue
            found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", str(text))
            assert found, text
            break
        settings: dict[str, Any] = {
            "HostName": "127.0.0.1",
            "Port": found[1],
            "User": "root",
            "HostKeyAlias": keys.HOST_ALIAS,
            "UserKnownHostsFile": self._keys.known_hosts,
            "IdentityFile": self._keys.login,
            "IdentitiesOnly": "yes",
            "ConnectTimeout": 60,
            "LogLevel": "ERROR",
        }
        lines = ["Host host", *(f"{name} {value}" for name, value in settings.items())]
        (self.directory / "config").write_text("\n".join(lines) + "\n")

    def _await_ssh(self) -> None:
        deadline = time.monotonic() + UP_S
        words = [*shlex.split(self.ssh), "-o", "BatchMode=yes", "host", "true"]
        while _call(words).returncode:
            assert self._qemu is not None
            assert self._qemu.alive(), self._qemu.console()[-2000:]
            assert time.monotonic() < deadline, self._qemu.console()[-2000:]
            time.sleep(1)


def write_menu(booted: DiskHost) -> None:
    """Have GRUB's menu written as hosts have it, with the older kernel as the default."""
    # It would boot the newest otherwise, also those that tests add.
    entry = f"gnulinux-advanced-{UUID}>gnulinux-{booted.old}-advanced-{UUID}"
    edits = f's/^GRUB_DEFAULT=.*/GRUB_DEFAULT="{entry}"/; s/watchdog_thresh=30/{NO_WATCHDOG}/'
    default = f"sed -i {shlex.quote(edits)} /etc/default/grub"
    shell(booted, f"{default} && update-grub")


def _disk(name: str, path: Path) -> list[str]:
    drive = f"if=none,id={name},file={path},format=raw,snapshot=on"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name}"]


def _firmware(found: Path, scratch: Path) -> list[str]:
    """Return QEMU's arguments for the firmware of EFI, with variables of its own, and a disk."""
    variables = scratch / "OVMF_VARS.fd"
    shutil.copy(found / "OVMF_VARS.fd", variables)
    return [
        *("-drive", f"if=pflash,format=raw,readonly=on,file={found / 'OVMF_CODE.fd'}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *_disk("e", found / "esp"),
    ]


def _call(words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True)

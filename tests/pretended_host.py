# SPDX-License-Identifier: GPL-2.0-only
"""A host that is only pretended: what it says of itself, and what a restart brings."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.targets.host import facts, measure, refusals
from page_alloc_bench.targets.host.facts import HostKernel
from page_alloc_bench.targets.host.kexec import Kexec
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.host.restart import Restarter
from page_alloc_bench.targets.host.shell import Answer, UnreachableError
from page_alloc_bench.targets.process import UsageError

VERSION = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1 (2026-01-01)"
OLD, NEW = (
    HostKernel(release, f"/boot/vmlinuz-{release}", f"/boot/initrd.img-{release}", version)
    for release, version in (("6.1.0-56-amd64", ""), ("6.12.95-amd64", VERSION))
)
BUILD_ID = "0123456789abcdef0123"
SAID = f"""\
release={OLD.release}
machine=x86_64
boot_id=first
cmdline=BOOT_IMAGE=/boot/vmlinuz-{OLD.release} root=/dev/vda1 ro quiet
systemd=yes
cpus=4
memory_kib=8000000
load=0.1
root_options=rw,relatime
root_errors=0
lockdown=none
run_is=tmpfs
restart=/usr/bin/systemctl
kexec=/usr/sbin/kexec
kexec_kernel=yes
kexec_disabled=0
grub_config=/boot/grub/grub.cfg
grub_editenv=/usr/bin/grub-editenv
grub_probe=/usr/sbin/grub-probe
grub_env=/boot/grub/grubenv
grub_fs=ext2
kernel={OLD.release} {OLD.image} {OLD.initrd}
kernel={NEW.release} {NEW.image} {NEW.initrd}
version={NEW.release} {VERSION}
"""


def of(**changed: str) -> facts.Facts:
    found = facts.parse(SAID)
    return facts.Facts({**found.values, **changed}, found.kernels)


def kexec(known: facts.Facts) -> Method:
    return Kexec(known)


def refused(
    known: facts.Facts, way: Callable[[facts.Facts], Method] = kexec, *accepted: str
) -> str:
    """What is said where the host is not restarted, "" where it is."""
    try:
        refusals.require("box", known, way(known), [OLD, NEW], accepted)
    except UsageError as error:
        return str(error)
    return ""


def note_of(build_id: str) -> str:
    """What /sys/kernel/notes has on a little-endian machine, in hexadecimal."""
    name, content = b"GNU\0", bytes.fromhex(build_id)
    return (struct.pack("<III", len(name), len(content), 3) + name + content).hex()


def local_ssh(directory: Path, first: str = "cat") -> str:
    """A program that is called as ssh is, and runs what it is given here.

    first: a program whose output, of what it is given, is run.
    """
    path = directory / "ssh"
    path.write_text(
        f'#!/bin/sh\nfor word; do :; done\n[ "$word" = box ] || {first} | sh -c "$word"\n'
    )
    path.chmod(0o755)
    return str(path)


def answering_ssh(directory: Path) -> str:
    """A program that is called as ssh is, and answers as root of a host that is fit."""
    (directory / "said").write_text(SAID)
    path = directory / "ssh"
    path.write_text(
        f"#!/bin/sh\ncase $(cat) in *secure_boot*) cat {directory}/said;; *) echo 0;; esac\n"
    )
    path.chmod(0o755)
    return str(path)


class Host:
    """Plays a host: what runs there, and what a restart brings. down: seconds until it is back.

    restarts: the kernel that each restart brings, None for none that answers.
    """

    host = "box"

    def __init__(self, restarts: list[str | None], *, down: float = 10) -> None:
        self.restarts, self.down = restarts, down
        self.boots, self.release, self.now, self.back_at = 0, OLD.release, 0.0, 0.0
        self.cmdline, self.version, self.notes = "", VERSION, note_of(BUILD_ID)
        self.scripts: list[str] = []
        self.cycles = 0

    def run(self, script: str, *, timeout: float = 0) -> Answer:
        self.scripts.append(script)
        if self.now < self.back_at:
            raise UnreachableError(f"box: no answer after {timeout} s")
        if "uname -r" in script:
            said = (f"boot-{self.boots}", self.release, self.version, self.notes, self.cmdline)
            return Answer(0, "".join(f"{line}\n" for line in said))
        if "systemctl" in script and "is-system-running" not in script:
            self.restart(self.restarts.pop(0))
        return Answer(0, "")

    def restart(self, release: str | None) -> None:
        self.boots += 1
        self.back_at = self.now + self.down if release else float("inf")
        self.release = release or ""

    def put(self, path: Path, remote: str) -> None:
        raise AssertionError((path, remote))

    def unpack(self, directory: Path, remote: str) -> None:
        raise AssertionError((directory, remote))

    def forget(self) -> None:
        pass

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def restarter(
    host: Host,
    *,
    hook: bool = False,
    console: str | None = None,
    way: Callable[[facts.Facts], Method] = kexec,
) -> Restarter:
    known = of()
    return Restarter(
        host, known, way(known), lambda _line: None, 300, "true" if hook else None, console,
        lambda: host.now, host.sleep,
    )  # fmt: skip


def measured(
    host: Host, *, build: Identity | None = None, words: str = "", **more: Any
) -> tuple[str, str]:
    """How the measurement of NEW ends that never comes to its run."""
    wanted = measure.Measurement(NEW, words, Path("/none"), (), 3600, build or {})
    made = measure.measure(restarter(host, **more), wanted)
    return made.end, made.reason

# SPDX-License-Identifier: GPL-2.0-only
"""Whether KVM may run a guest's CPUs: that /dev/kvm opens says nothing of it.

There are hosts, virtual machines most of them, whose /dev/kvm opens and answers, and then emulates
each instruction, a thousand times slower than QEMU does. So it is tried, each step in a child that
can be ended: 0. /dev/kvm opens, and on x86 the CPU has vmx or svm; 1. 100,000 rounds of a loop take
less than 20 ms; 2. a tiny image starts and ends in the very machine that a guest would be, within
2 s and three times what emulation takes. Only step 2 is enough; the others say why.
"""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from page_alloc_bench.targets import cache, hardware, kvm_loop
from page_alloc_bench.targets.appliance import HOST
from page_alloc_bench.targets.machine import emulator
from page_alloc_bench.targets.process import TargetError, tail
from page_alloc_bench.temporary import temporary_directory

CHOICES = ("auto", "kvm", "tcg")
DEVICE = Path("/dev/kvm")
LOOP_S = 0.02
_LOOP_LIMIT_S = 0.4
_TRIES = 2
_IMAGE_LIMIT_S, _TIMES, _MORE_S = 2.0, 3, 0.5
_DONE = 1  # what QEMU's isa-debug-exit makes of a 0


def chosen(asked: str, arch: str) -> str:
    """Return what runs the CPUs of a guest, "kvm" or "tcg", for what was ASKED, and say it.

    Raises TargetError where KVM was asked for and does not do.
    """
    if asked == "tcg":
        return "tcg"
    why_not = fault(arch)
    if why_not is None:
        cache.note("KVM runs the guests' CPUs: it was tried")
        return "kvm"
    if asked == "kvm":
        raise TargetError(f"KVM cannot be used here: {why_not}; leave out --accel kvm")
    cache.note(f"the guests' CPUs are emulated (TCG), for KVM cannot be used: {why_not}")
    return "tcg"


def fault(arch: str) -> str | None:
    """Return why KVM cannot run a guest of this architecture here; None if it can.

    That it can is kept in the cache until the next boot, or another QEMU. That it cannot is not:
    the times of a busy moment may be why.
    """
    quick = at_once(arch)
    if quick is not None:
        return quick
    qemu = emulator(arch)
    key = cache.digest(_boot_id(), _version(qemu))
    path = cache.cache_dir() / "accel" / f"{key}.works"
    if path.exists():
        return None
    found = _tried(qemu)
    if found is None:
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.touch()
    return found


def at_once(arch: str) -> str | None:
    """Step 0: what can be told without trying."""
    if arch != HOST:
        return f"this host is {HOST or platform.machine()}, not {arch}"
    if arch != "amd64":
        return f"it is not known how to try it on {arch}"
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{DEVICE}: {error.strerror}"
    flags = Path("/proc/cpuinfo").read_text().partition("flags\t")[2].partition("\n")[0].split()
    if not {"vmx", "svm"} & set(flags):
        return f"{DEVICE} opens, but the CPU of this host has neither vmx nor svm"
    return None


def _tried(qemu: str) -> str | None:
    """Steps 1 and 2, each of which may fail once, for this host may be busy."""
    found = None
    for step in (_tried_loop, _tried_guest):
        for _ in range(_TRIES):
            found = step(qemu)
            if found is None:
                break
        else:
            return found
    return None


def _tried_loop(_qemu: str) -> str | None:
    taken, said = loop_s()
    if taken is not None and taken <= LOOP_S:
        return None
    most = f"{1000 * LOOP_S:.0f} ms"
    if taken is not None:
        return f"100,000 rounds of a loop in it takes {1000 * taken:.0f} ms, more than {most}"
    return f"100,000 rounds of a loop in it, which should take {most}, does not end{_colon(said)}"


def _tried_guest(qemu: str) -> str | None:
    emulated, _ = boot_s(qemu, ["-M", "pc", "-cpu", "max,cx16=off", "-accel", "tcg"], 10)
    limit = min(_IMAGE_LIMIT_S, _TIMES * (emulated or _IMAGE_LIMIT_S) + _MORE_S)
    under_kvm, said = boot_s(qemu, hardware.board("amd64"), limit)
    if under_kvm is None:
        return f"a tiny guest does not end within {limit:.1f} s{_colon(said)}"
    return None


def _colon(said: str) -> str:
    return f": {said}" if said else ""


def loop_s() -> tuple[float | None, str]:
    """Return how long the loop takes under KVM, in seconds, and what it complained of.

    None if it does not end, or cannot.
    """
    argv = [sys.executable, "-I", "-S", kvm_loop.__file__]
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=_LOOP_LIMIT_S
        )
        if done.returncode != 0:
            return None, tail(done.stderr, 1)
        return float(done.stdout), ""
    except subprocess.TimeoutExpired:
        return None, ""
    except (OSError, ValueError) as error:
        return None, str(error)


def boot_s(qemu: str, board: list[str], limit: float) -> tuple[float | None, str]:
    """Return how long a machine takes to start and end, in seconds, and what QEMU said.

    None if it does not within the LIMIT.
    """
    with temporary_directory() as made:
        image = made / "image"
        image.write_bytes(_image())
        argv = [
            qemu,
            *board,
            *("-m", "64M", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", str(image)),
        ]
        began = time.monotonic()
        try:
            done = subprocess.run(
                argv,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit,
            )
        except OSError as error:
            return None, str(error)
        except subprocess.TimeoutExpired:
            return None, ""
        if done.returncode != _DONE:
            return None, tail(done.stderr, 1)
        return time.monotonic() - began, ""


def _image() -> bytes:
    """Return a kernel that ends the machine at once.

    Multiboot Specification 0.6.96, 3.1: magic, flags (addresses follow), checksum, and where the
    header, the image's beginning and end, the end of its memory, and its entry are.
    """
    magic, flags, at = 0x1BADB002, 1 << 16, 0x100000
    # xor eax,eax; mov dx,0xf4; out dx,al; then hlt for ever.
    code = b"\x31\xc0\x66\xba\xf4\x00\xee\xf4\xeb\xfd"
    end = at + 32 + len(code)
    head = struct.pack(
        "<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, at, at, end, end, at + 32
    )
    return head + code


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _version(qemu: str) -> str:
    try:
        done = subprocess.run(
            [qemu, "--version"], check=False, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"{qemu} --version: {error}") from error
    return done.stdout.partition("\n")[0]

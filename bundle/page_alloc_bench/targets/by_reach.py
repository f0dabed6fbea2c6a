# SPDX-License-Identifier: GPL-2.0-only
"""Run a bundle on a kernel of any kind, in the guest that this kernel can be.

    status = run_bundle(kernel.boots, Path("bench.run"), ["--iterations", "1"], output=path)

By ssh in a Debian root, where the kernel has a disk, a network and ext4; else in a guest that has a
busybox and nothing else, over two raw disks, or without any over a serial port. In these the bundle
needs its own Python.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from page_alloc_bench import outputs
from page_alloc_bench.targets import guest, vm
from page_alloc_bench.targets import root as roots
from page_alloc_bench.targets.appliance import Appliance
from page_alloc_bench.targets.boot_failure import VERBOSE
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.fitted import AUTO, DISK, REACHES, SSH, Fitted
from page_alloc_bench.targets.machine import machine
from page_alloc_bench.targets.serial import SerialGuest

BOOT_S = 60.0  # without a Debian; an emulated CPU boots a usual kernel in 5 to 20
_HANGS_S = 600.0  # as for a guest with ssh
_BUNDLE = "/root/bench.run"


@dataclass(frozen=True)
class _Boot:
    """A guest without ssh: what boots, and what it is to do.

    ``size``: CPUs, nodes and memory. ``says`` is called with its console at the end.
    """

    kernel: Fitted
    bundle: Path
    bench_args: Sequence[str]
    size: tuple[int, int, str]
    accel: str
    cmdline_extra: str
    timeout: float
    says: Callable[[str], object]

    @property
    def script(self) -> str:
        return shlex.join(["sh", _BUNDLE, *self.bench_args]) + "\n"

    @property
    def arguments(self) -> str:
        return f"{VERBOSE[self.kernel.arch]} {self.cmdline_extra}".strip()


class _Came(NamedTuple):
    """What came of a run: its exit status, what it wrote to stdout, and the kernel's log."""

    status: int
    stdout: bytes
    dmesg: str


def run_bundle(
    kernel: Fitted,
    bundle: Path,
    bench_args: Sequence[str] = (),
    *,
    reach: str = AUTO,
    root: str = roots.DEFAULT,
    cpus: int = 4,
    nodes: int = 2,
    memory: str = "2G",
    output: Path | None = None,
    console: Path | None = None,
    cmdline_extra: str = "",
    boot_timeout: float | None = None,
    accel: str = "tcg",
) -> int:
    """Boot KERNEL once, run BUNDLE with BENCH_ARGS in it, and return the exit status of that.

    REACH: how the guest is reached, one of fitted.REACHES, or AUTO for the first that KERNEL can.
    BOOT_TIMEOUT is in seconds, without those in which QEMU has no CPU; None is guest.BOOT_S by ssh,
    and BOOT_S else. The other parameters, the
    exit status and what is raised are those of vm.run_bundle(). A kernel that does not boot, or
    stops to give signs of life, is a TargetError with the cause and the end of its console.
    """
    way = kernel.choose(reach)
    for other in REACHES[: REACHES.index(way)] if reach == AUTO else ():
        note(f"not by {other}: the kernel lacks {', '.join(kernel.lacks(other))}")
    boot_timeout = boot_timeout or (guest.BOOT_S if way == SSH else BOOT_S)
    if way == SSH:
        return vm.run_bundle(
            bundle,
            bench_args,
            kernel=kernel,
            root=root,
            cpus=cpus,
            nodes=nodes,
            memory=memory,
            output=output,
            console=console,
            cmdline_extra=cmdline_extra,
            boot_timeout=boot_timeout,
            accel=accel,
        )

    def work(says: Callable[[str], object]) -> _Came:
        note(f"booting {kernel.release} in QEMU, reached by {way}")
        size = (cpus, nodes, memory)
        boot = _Boot(kernel, bundle, bench_args, size, accel, cmdline_extra, boot_timeout, says)
        try:
            return _by_disk(boot) if way == DISK else _by_serial(boot)
        except vm.Interrupted:
            note("interrupted: the run's result is lost")
            raise

    return vm.interruptible(lambda: _bring_back(work, output, console))


def _bring_back(
    work: Callable[[Callable[[str], object]], _Came], output: Path | None, console: Path | None
) -> int:
    """Put what comes of WORK where vm.run_bundle() does; return the exit status."""
    outputs.refuse_twins((output or vm.STDOUT, console))
    with vm.result_file(output or vm.STDOUT) as stdout, vm.opened(console) as log:

        def says(text: str) -> None:
            if log:
                log.write(text.encode(errors="replace"))

        came = work(says)
        with os.fdopen(os.dup(stdout), "wb") as file:
            file.write(came.stdout)
        vm.report_trouble(came.dmesg)
        return came.status


def _by_disk(boot: _Boot) -> _Came:
    guest = Appliance(boot.kernel, *boot.size, cmdline_extra=boot.arguments, accel=boot.accel)
    note("progress comes at the end, with the result")
    try:
        done = guest.run(
            boot.script, {_BUNDLE: boot.bundle}, timeout=_HANGS_S, boot_timeout=boot.timeout
        )
    finally:
        boot.says(guest.console)
    sys.stderr.write(done.stderr)
    return _Came(done.status, done.stdout.encode(), done.dmesg)


def _by_serial(boot: _Boot) -> _Came:
    size = machine(*boot.size, arch=boot.kernel.arch, accel=boot.accel)
    guest = SerialGuest(boot.kernel.image, size, cmdline_extra=boot.arguments)
    try:
        done = guest.run(
            boot.script,
            {_BUNDLE: boot.bundle},
            on_line=lambda line: print(line, file=sys.stderr, flush=True),
            boot_timeout=boot.timeout,
            timeout=_HANGS_S,
            signs_of_life=True,
        )
    finally:
        boot.says(guest.console)
    dmesg = done.files.get("dmesg", b"").decode(errors="replace")
    return _Came(done.status, done.files.get("stdout", b""), dmesg)

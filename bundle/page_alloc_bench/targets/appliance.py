# SPDX-License-Identifier: GPL-2.0-only
"""A guest that has a kernel and a static busybox and nothing else: no libc, no Python, no ssh.

    done = Appliance("6.1", cpus=2).run("sh /root/bench.run --help", {"/root/bench.run": path})
    assert done.status == 0

Each run boots, runs one script as root, and ends. Files go in and come out over two raw disks, so
that the kernel needs no more than virtio's; all files of the guest are in its initramfs.
"""

from __future__ import annotations

import io
import platform
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.space import Room
from page_alloc_bench.targets import cache, devices, fitted, initramfs, kernels
from page_alloc_bench.targets.apt import ARCHITECTURES, PrivateApt
from page_alloc_bench.targets.boot_failure import Boot
from page_alloc_bench.targets.fitted import DISK, Fitted
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.machine import emulator, headless, kernel_arguments, machine
from page_alloc_bench.targets.process import TargetError, need
from page_alloc_bench.targets.qemu import Qemu

_SUITES = ("bookworm",)
HOST = ARCHITECTURES.get(platform.machine(), "")
_SCRIPT, _COLLECT, _OUTPUT = "/appliance/script", "/appliance/collect", "/appliance/output"
_OUTPUT_BYTES = 1 << 30  # of the sparse file that takes what comes out
_READY, _ALIVE = "appliance: ready", "appliance: alive"
_ALIVE_S = 60  # between two signs of life
_POLL_S = 0.05


@dataclass(frozen=True)
class Finished:
    """What came of a script.

    ``status``: its exit status. ``files``: absolute path in the guest → content, of the collected
    files that were there. ``dmesg``: the kernel's log when the script had ended. ``console``: what
    went to the serial console until the machine was off.
    """

    status: int
    stdout: str
    stderr: str
    files: Mapping[str, bytes]
    dmesg: str
    console: str


class Appliance:
    """The description of such a guest; each run() boots one.

    ``kernel``: one with a disk, a fetched one, a name of the list, or None for the default; it
    decides the architecture. ``memory``: like "1G". ``cmdline_extra`` goes after the kernel's
    arguments.
    """

    def __init__(
        self,
        kernel: Fitted | FetchedKernel | str | None = None,
        cpus: int = 2,
        nodes: int = 1,
        memory: str = "1G",
        *,
        cmdline_extra: str = "",
        accel: str = "tcg",
    ):
        if isinstance(kernel, str) or kernel is None:
            emulator(kernels.lookup(kernel or kernels.DEFAULT).arch)  # before a long download
            kernel = kernels.fetch(kernel or kernels.DEFAULT)
        self.kernel = kernel
        self._boots = kernel if isinstance(kernel, Fitted) else fitted.of_fetched(kernel)
        self._boots.choose(DISK)
        self.arch = self._boots.arch
        self.machine = machine(cpus, nodes, memory, arch=self.arch, accel=accel)
        self._cmdline_extra = cmdline_extra
        self.console = ""  # what the kernel wrote in the last run, however that ended

    def run(
        self,
        script: str,
        files: Mapping[str, Path | bytes] | None = None,
        collect: Sequence[str] = (),
        *,
        timeout: float = 300,
        boot_timeout: float | None = None,
    ) -> Finished:
        """Boot, run SCRIPT with busybox's sh in /root, and return what came of it.

        FILES: absolute path in the guest → a local file (with its mode) or the content (mode 644).
        COLLECT: absolute paths of files, or of directories with all below them, to bring back.
        TIMEOUT is in seconds, from the start of QEMU to its end. With BOOT_TIMEOUT, in seconds
        too, the kernel says while it boots what it does, the guest says every minute that it lives,
        and TIMEOUT is from the last that it said.

        Raises TargetError, with the end of the console, when the guest did not get to the end of
        the script: a panic, a boot that fails, or TIMEOUT.
        """
        qemu = Qemu()
        try:
            given, taken = qemu.scratch / "input", qemu.scratch / "output"
            pack(given, script, files or {}, collect)
            with taken.open("wb") as file:
                file.truncate(_OUTPUT_BYTES)
            alive_s = 0 if boot_timeout is None else _ALIVE_S
            qemu.start(self._command_line(qemu.scratch, given, taken, alive_s))
            if boot_timeout is None:
                _await_end(qemu, timeout)
            else:
                boot = Boot(qemu, boot_timeout, verbose=True)
                while _READY not in qemu.console():
                    boot.check()
                    time.sleep(_POLL_S)
                _await_end(qemu, timeout, from_last=True)
            return unpack(taken, qemu)
        finally:
            qemu.remove()
            self.console = qemu.console()

    def _command_line(self, scratch: Path, given: Path, taken: Path, alive_s: int) -> list[str]:
        disk = self._boots.disk
        assert disk is not None, DISK
        initrd = scratch / "initrd"
        initrd.write_bytes(
            initramfs.make(
                self._boots,
                busybox(self.arch),
                disk.drivers,
                "appliance-init.sh.j2",
                script=_SCRIPT,
                collect=_COLLECT,
                output=_OUTPUT,
                disks=disk.node,
                ready=_READY,
                alive=_ALIVE,
                alive_s=str(alive_s or ""),
            )
        )
        return [
            *headless(
                emulator(self.arch),
                self.machine,
                scratch=scratch,
                kernel=self._boots.image,
                initrd=initrd,
                append=kernel_arguments(self._cmdline_extra, self.arch, self.machine.accel),
            ),
            *devices.disks(
                disk, [("given", given, "snapshot=on"), ("taken", taken, "cache=unsafe")]
            ),
        ]


def busybox(arch: str) -> Path:
    """Return Debian's static busybox for ARCH: this host's own, or one from the cache."""
    if arch == HOST:
        return Path(need("busybox", "busybox-static"))
    directory = cache.entry(
        "busybox",
        f"{arch}-{cache.digest(*_SUITES)}",
        lambda temporary, _final: _fetch_busybox(arch, temporary),
        f"a static busybox for {arch}",
        room=Room(300, 200),
    )
    return directory / "busybox"


def _fetch_busybox(arch: str, temporary: Path) -> None:
    """Put the program of ARCH's busybox-static into TEMPORARY."""
    apt = PrivateApt(temporary / "apt", _SUITES, arch)
    apt.update()
    apt.extract(["busybox-static"], temporary / "package")
    found = [path for path in temporary.glob("package/**/bin/busybox") if path.is_file()]
    if len(found) != 1:
        raise TargetError(f"Debian's busybox-static for {arch} holds {len(found)} programs, not 1")
    found[0].rename(temporary / "busybox")


def pack(
    path: Path, script: str, files: Mapping[str, Path | bytes], collect: Sequence[str]
) -> None:
    """Write the archive that the guest unpacks over its root to PATH."""
    for name in (*files, *collect):
        if not name.startswith("/") or "\n" in name:
            raise TargetError(f"{name!r} is not an absolute path in the guest")
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        own = {_SCRIPT: script.encode(), _COLLECT: "".join(f"{p}\n" for p in collect).encode()}
        for name, content in {**files, **own}.items():
            member = tarfile.TarInfo(name.lstrip("/"))
            if isinstance(content, Path):
                member.mode = content.stat().st_mode & 0o7777
                content = content.read_bytes()  # noqa: PLW2901
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _await_end(qemu: Qemu, timeout: float, *, from_last: bool = False) -> None:
    """Return once QEMU has ended by itself; raise TargetError when it has not within TIMEOUT.

    With FROM_LAST that is counted from when the console became longer.
    """
    since, seen = time.monotonic(), 0
    while qemu.alive():
        now = time.monotonic()
        if from_last and len(qemu.console()) != seen:
            since, seen = now, len(qemu.console())
        if now - since > timeout:
            what = "say that it lives" if from_last else "end"
            raise TargetError(
                f"the guest did not {what} within {timeout:g} s{qemu.quote_console()}"
            )
        time.sleep(_POLL_S)
    if qemu.status() != 0:
        raise qemu.why_it_ended()


def unpack(path: Path, qemu: Qemu) -> Finished:
    """Read what the guest wrote to its second disk, PATH."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = [member for member in archive if member.isfile()]
            files = {f"/{m.name}": archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    except tarfile.TarError:
        files = {}
    own = {name: files.pop(f"{_OUTPUT}/{name}", None) for name in ("status", "dmesg")}
    texts = [files.pop(f"{_OUTPUT}/{name}", b"") for name in ("stdout", "stderr")]
    if own["status"] is None or own["dmesg"] is None:
        raise qemu.why_it_ended()
    stdout, stderr, dmesg = (text.decode(errors="replace") for text in (*texts, own["dmesg"]))
    return Finished(int(own["status"]), stdout, stderr, files, dmesg, qemu.console())

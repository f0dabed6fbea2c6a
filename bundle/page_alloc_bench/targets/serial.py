# SPDX-License-Identifier: GPL-2.0-only
"""A guest with a kernel, an initramfs and two serial ports: no disk, no network, no module needed.

    done = SerialGuest(image, machine).run("sh /root/x", {"/root/x": path})
    assert done.status == 0

All that runs lies in the initramfs. The first port is the kernel's console. Over the second come
the lines that the script writes to stderr, as they are written, and at the end, in a frame, what it
has put into the directory OUTPUT:

    PAB0 RELEASE                   as soon as it can
    PABA                           now and then, where a sign of life is asked for
    PAB1 STATUS SIZE SHA256        of the gzipped tar archive that follows, in base64
    ...
    PABEND
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from page_alloc_bench.resources import render
from page_alloc_bench.targets import qmp
from page_alloc_bench.targets.appliance import busybox
from page_alloc_bench.targets.boot_failure import Boot
from page_alloc_bench.targets.initramfs import Archive, static_program
from page_alloc_bench.targets.machine import Machine, emulator, headless, kernel_arguments
from page_alloc_bench.targets.outcome import GuestEndedError, how_it_ended
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.qemu import Qemu

OUTPUT = "/output"  # what the script leaves there comes back
_SCRIPT = "/script"
_PORTS = {"amd64": "/dev/ttyS1", "arm64": "/dev/ttyS0"}
_READY, _TOLD, _ALIVE, _BEGIN, _END = "PAB0", "PABT", "PABA", "PAB1", "PABEND"
_BOOT_S = 60.0  # until the guest's init speaks
_ALIVE_S = 60  # between two signs of life
_POLL_S = 0.05


@dataclass(frozen=True)
class Returned:
    """What came of a script.

    ``status``: its exit status. ``files``: path below OUTPUT → content; "stdout" is what the script
    wrote there, "dmesg" the kernel's log. ``console``: what the kernel wrote until its end.
    ``seconds``: from the start of QEMU to its end. ``starved``: those in which a vCPU waited for
    a CPU of this host, at most. ``pinned``: whether each vCPU had a CPU of this host for itself;
    None under emulation.
    """

    status: int
    files: Mapping[str, bytes]
    console: str
    seconds: float
    starved: float = 0.0
    pinned: bool | None = None


class SerialGuest:
    """The description of such a guest; each run() boots one.

    ``image``: the kernel. ``arch``: Debian's name of its architecture. ``cmdline_extra`` goes after
    the kernel's arguments, ``qemu_extra`` after QEMU's. In the latter ``{scratch}`` is a directory
    that goes with the guest; ``kept`` are files in it to bring back, besides those of the guest.
    """

    def __init__(
        self,
        image: Path,
        machine: Machine,
        *,
        cmdline_extra: str = "",
        qemu_extra: Sequence[str] = (),
        kept: Sequence[str] = (),
    ):
        self.image = image
        self.machine = machine
        self._cmdline_extra = cmdline_extra
        self._qemu_extra = tuple(qemu_extra)
        self._kept = tuple(kept)
        self.console = ""  # what the kernel wrote in the last run, however that ended

    def run(
        self,
        script: str,
        files: Mapping[str, Path | bytes] | None = None,
        *,
        on_line: Callable[[str], object] = lambda _line: None,
        boot_timeout: float = _BOOT_S,
        timeout: float = 600,
        signs_of_life: bool = False,
    ) -> Returned:
        """Boot, run SCRIPT with busybox's sh in /root, and return what came of it.

        FILES: absolute path in the guest → a local file (with its mode) or the content (mode 644).
        ON_LINE is called with each line that the script writes to stderr. BOOT_TIMEOUT and TIMEOUT
        are in seconds, both from the start of QEMU, without those in which it had no CPU. With
        SIGNS_OF_LIFE the guest says every minute that it lives, and TIMEOUT is from the last that
        it said; its kernel says while it boots what it does.

        Raises GuestEndedError, with the cause and the end of the console, when the guest does not
        get to the end of the script.
        """
        content = self._initramfs(script, files or {}, _ALIVE_S if signs_of_life else 0)
        qemu = Qemu()
        started = time.monotonic()
        port = _Port(qemu.scratch / "port", on_line)
        try:
            initrd = qemu.scratch / "initrd"
            initrd.write_bytes(content)
            qemu.start(self._command_line(qemu.scratch, initrd))
            pinned = qmp.pin(qemu, self.machine) if self.machine.accel == "kvm" else None
            boot = Boot(qemu, boot_timeout, verbose=signs_of_life)
            _await_end(qemu, port, boot, timeout, from_last=signs_of_life)
            status, came = port.result(qemu)
            kept = {name: (qemu.scratch / name) for name in self._kept}
            came |= {name: path.read_bytes() for name, path in kept.items() if path.exists()}
            seconds, starved = time.monotonic() - started, qemu.starved_s()
            return Returned(status, came, qemu.console(), seconds, starved, pinned)
        except TargetError as error:
            end = how_it_ended(qemu.console(), ready=port.ready, status=qemu.status())
            end = "infra" if port.whole else end
            raise GuestEndedError(str(error), end, qemu.console()) from error
        finally:
            qemu.remove()
            self.console = qemu.console()

    def _initramfs(self, script: str, files: Mapping[str, Path | bytes], alive_s: int) -> bytes:
        arch = self.machine.arch
        init = render(
            "serial-init.sh.j2",
            script=_SCRIPT,
            output=OUTPUT,
            port=_PORTS[arch],
            ready=_READY,
            told=_TOLD,
            alive=_ALIVE,
            alive_s=alive_s,
            begin=_BEGIN,
            end=_END,
        )
        archive = Archive()
        for directory in ("bin", "dev"):
            archive.directory(directory)
        # The kernel opens it for process 1 before anything is mounted.
        archive.device("dev/console", 5, 1)
        archive.file("bin/busybox", static_program(busybox(arch)), 0o755)
        archive.link("bin/sh", "busybox")
        archive.file("init", init.encode(), 0o755)
        archive.file(_SCRIPT.lstrip("/"), script.encode(), 0o644)
        made = {"bin", "dev"}
        for name, content in files.items():
            for parent in reversed(PurePosixPath(name).parents[:-1]):
                directory = str(parent).lstrip("/")
                if directory not in made:
                    archive.directory(directory)
                    made.add(directory)
            mode = content.stat().st_mode & 0o7777 if isinstance(content, Path) else 0o644
            data = content.read_bytes() if isinstance(content, Path) else content
            archive.file(name.lstrip("/"), data, mode)
        return archive.finish()

    def _command_line(self, scratch: Path, initrd: Path) -> list[str]:
        return [
            *headless(
                emulator(self.machine.arch),
                self.machine,
                scratch=scratch,
                kernel=self.image,
                initrd=initrd,
                append=kernel_arguments(self._cmdline_extra, self.machine.arch, self.machine.accel),
            ),
            *_second_port(self.machine.arch, scratch),
            *(qmp.arguments(scratch) if self.machine.accel == "kvm" else []),
            *(word.format(scratch=scratch) for word in self._qemu_extra),
        ]


def _second_port(arch: str, scratch: Path) -> list[str]:
    if arch == "amd64":
        return ["-serial", f"file:{scratch}/port"]
    # The board's second port is the secure world's.
    return ["-chardev", f"file,id=port,path={scratch}/port", "-device", "pci-serial,chardev=port"]


class _Port:
    """The second serial port as a file that grows."""

    def __init__(self, path: Path, on_line: Callable[[str], object]) -> None:
        self._path = path
        self._on_line = on_line
        self._read = 0
        self._rest = ""
        self._header: list[str] | None = None
        self._frame: list[str] = []
        self.last = time.monotonic()  # when the guest said something
        self.ready = False
        self.whole = False

    def look(self) -> None:
        """Take in what is new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        if data:
            self.last = time.monotonic()
        *lines, self._rest = (self._rest + data.decode(errors="replace")).split("\n")
        for line in lines:
            self._take(line.rstrip("\r"))

    def _take(self, line: str) -> None:
        if self._header is not None:
            if line == _END:
                self.whole = True
            elif not self.whole:
                self._frame.append(line)
        elif line.startswith(f"{_READY} "):
            self.ready = True
        elif re.fullmatch(rf"{_BEGIN} \d+ \d+ [0-9a-f]{{64}}", line):
            self._header = line.split()[1:]
        elif line and line != _ALIVE:
            self._on_line(line)

    def result(self, qemu: Qemu) -> tuple[int, dict[str, bytes]]:
        """Return the status of the script, and the files of the frame by their names."""
        if self._header is None or not self.whole:
            raise qemu.why_it_ended()
        status, size, digest = self._header
        try:
            packed = base64.b64decode("".join(self._frame), validate=True)
        except binascii.Error as error:
            raise TargetError(f"what the guest sent is damaged: {error}") from error
        if len(packed) != int(size) or hashlib.sha256(packed).hexdigest() != digest:
            raise TargetError(
                f"what the guest sent is damaged: {len(packed)} bytes of {size} came, with another "
                "checksum; run it again"
            )
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            members = [member for member in archive if member.isfile()]
            files = {
                m.name.removeprefix("./"): archive.extractfile(m).read()  # type: ignore[union-attr]
                for m in members
            }
        return int(status), files


def _await_end(qemu: Qemu, port: _Port, boot: Boot, timeout: float, *, from_last: bool) -> None:
    """Return once QEMU has ended by itself; raise TargetError when it is late."""
    started = time.monotonic()
    while qemu.alive():
        port.look()
        if not port.ready:
            boot.check()
        starved = qemu.starved_s()
        elapsed = time.monotonic() - (port.last if from_last else started)
        if elapsed > timeout and elapsed - starved > timeout:
            what = "say that it lives" if from_last else "end"
            raise TargetError(
                f"the guest did not {what} within {timeout:g} s{qemu.quote_console()}"
            )
        time.sleep(_POLL_S)
    port.look()
    if not port.whole:
        if not port.ready:
            boot.check()
        raise qemu.why_it_ended()

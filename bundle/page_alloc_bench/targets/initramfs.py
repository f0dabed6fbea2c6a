# SPDX-License-Identifier: GPL-2.0-only
"""Make the small initramfs that lets any kernel boot any root: busybox and a few modules."""

from __future__ import annotations

import io
import stat
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from page_alloc_bench.resources import render
from page_alloc_bench.targets import modules
from page_alloc_bench.targets.fitted import SSH, Fitted
from page_alloc_bench.targets.process import TargetError, need
from page_alloc_bench.targets.root import INIT

# The addresses of QEMU's user network.
ADDRESS, GATEWAY = "10.0.2.15", "10.0.2.2"
# ext4 is a module in kernels that are not for clouds.
_ROOT = ("ext4",)


def build(kernel: Fitted) -> bytes:
    """Return the initramfs that hands over to a root, for KERNEL; it has a disk and a network."""
    assert kernel.disk is not None, SSH
    assert kernel.network is not None, SSH
    busybox = Path(need("busybox", "busybox-static"))
    drivers = (*kernel.disk.drivers, *kernel.network.drivers, *_ROOT)
    values = {"address": ADDRESS, "gateway": GATEWAY, "init": INIT, "disks": kernel.disk.node}
    return make(kernel, busybox, drivers, "guest-initramfs.sh.j2", **values)


def make(
    kernel: Fitted, busybox: Path, drivers: Sequence[str], template: str, **values: str
) -> bytes:
    """Return the initramfs for KERNEL.

    It holds BUSYBOX, the modules that DRIVERS need, and as process 1 the rendered TEMPLATE, which
    gets their file names in the order to insert them as ``modules``, and VALUES.
    """
    files = kernel.modules.needed(drivers)
    archive = Archive()
    for directory in ("bin", "dev", "modules"):
        archive.directory(directory)
    # The kernel opens it for process 1 before anything is mounted.
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", static_program(busybox), 0o755)
    archive.link("bin/sh", "busybox")
    archive.file("init", render(template, modules=list(files), **values).encode(), 0o755)
    for name, module in files.items():
        archive.file(f"modules/{name}", modules.read(module), 0o644)
    return archive.finish()


def static_program(busybox: Path) -> bytes:
    """Return the program; one that needs shared libraries would not start in the guest."""
    content = busybox.read_bytes()
    if ELFFile(io.BytesIO(content)).get_section_by_name(".interp") is not None:
        raise TargetError(f"{busybox} is not static: apt-get install busybox-static")
    return content


class Archive:
    """A cpio archive in the one format that the kernel unpacks ("newc"), all owned by root."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._inode = 0

    def directory(self, name: str) -> None:
        """Add the directory NAME."""
        self._add(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, content: bytes, mode: int) -> None:
        """Add the file NAME."""
        self._add(name, stat.S_IFREG | mode, content)

    def link(self, name: str, target: str) -> None:
        """Add the symbolic link NAME."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        """Add the character device NAME."""
        self._add(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def finish(self) -> bytes:
        """Return the whole archive."""
        self._add("TRAILER!!!", 0, b"")
        return bytes(self._out)

    def _add(self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        # inode, mode, uid, gid, links, time, size, device, device of the node, length of the name,
        # checksum
        numbers = [self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0]
        self._out += b"070701" + "".join(f"{number:08X}" for number in numbers).encode()
        for part in (path, content):
            self._out += part
            self._out += b"\0" * (-len(self._out) % 4)

# SPDX-License-Identifier: GPL-2.0-only
"""Make the small initramfs that lets any kernel boot any root: busybox and a few virtio modules."""

from __future__ import annotations

import io
import lzma
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from page_alloc_bench.targets import cache
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.process import TargetError, need
from page_alloc_bench.targets.root import INIT, render

# The addresses of QEMU's user network.
ADDRESS, GATEWAY = "10.0.2.15", "10.0.2.2"
# ext4 is a module in kernels that are not for clouds.
_DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
# What a module asks for by a crypto algorithm's name, which no "depends" tells of.
_ALGORITHMS = {"ext4": "crc32c_generic"}


def build(kernel: FetchedKernel) -> Path:
    """Return the initramfs that hands over to a root, for KERNEL."""
    busybox = Path(need("busybox", "busybox-static"))
    values = {"address": ADDRESS, "gateway": GATEWAY, "init": INIT}
    return make(kernel, busybox, _DRIVERS, "guest-initramfs.sh.j2", **values)


def make(
    kernel: FetchedKernel, busybox: Path, drivers: Sequence[str], template: str, **values: str
) -> Path:
    """Return the initramfs for KERNEL, made in the cache if need be.

    It holds BUSYBOX, the modules that DRIVERS need, and as process 1 the rendered TEMPLATE, which
    gets their file names in the order to insert them as ``modules``, and VALUES.
    """
    modules = _modules(kernel.modules_dir, drivers)
    init = render(template, modules=list(modules), **values)
    key = f"{kernel.release}-{cache.digest(init, str(busybox.stat().st_mtime_ns))}"
    directory = cache.entry(
        "initramfs",
        key,
        lambda temporary, _final: _write(temporary / "initramfs.cpio", busybox, modules, init),
        f"the initramfs of {kernel.release}",
    )
    return directory / "initramfs.cpio"


def _write(path: Path, busybox: Path, modules: dict[str, Path], init: str) -> None:
    archive = Archive()
    for directory in ("bin", "dev", "modules"):
        archive.directory(directory)
    # The kernel opens it for process 1 before anything is mounted.
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", static_program(busybox), 0o755)
    archive.link("bin/sh", "busybox")
    archive.file("init", init.encode(), 0o755)
    for name, module in modules.items():
        archive.file(f"modules/{name}", _read_module(module), 0o644)
    path.write_bytes(archive.finish())


def static_program(busybox: Path) -> bytes:
    """Return the program; one that needs shared libraries would not start in the guest."""
    content = busybox.read_bytes()
    if ELFFile(io.BytesIO(content)).get_section_by_name(".interp") is not None:
        raise TargetError(f"{busybox} is not static: apt-get install busybox-static")
    return content


def _modules(modules_dir: Path, drivers: Sequence[str]) -> dict[str, Path]:
    """Return the modules that DRIVERS need, in the order to insert them: name → file.

    The kernel's packages hold no modules.dep (it is made at installation), so the ``depends`` of
    the modules themselves is followed.
    """
    files = {_name(path): path for path in modules_dir.glob("kernel/**/*.ko*")}
    builtin_list = modules_dir / "modules.builtin"
    builtin = {_name(Path(line)) for line in builtin_list.read_text().split()}
    ordered: dict[str, Path] = {}

    def visit(name: str) -> None:
        if name in builtin or f"{name}.ko" in ordered:
            return
        if name not in files:
            raise TargetError(f"the kernel in {modules_dir} has no {name}: no guest can boot it")
        needs = _depends(files[name])
        algorithm = _ALGORITHMS.get(name)
        if algorithm in files:
            needs.append(algorithm)
        for dependency in needs:
            visit(dependency)
        ordered[f"{name}.ko"] = files[name]

    for driver in drivers:
        visit(driver)
    return ordered


def _name(path: Path) -> str:
    """Return the module's name as the kernel spells it."""
    return re.sub(r"\.ko(\.\w+)?$", "", path.name).replace("-", "_")


def _read_module(path: Path) -> bytes:
    """Return the module PATH, decompressed."""
    if path.suffix == ".ko":
        return path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    raise TargetError(f"{path}: modules compressed as {path.suffix} are not supported")


def _depends(path: Path) -> list[str]:
    """Return the names of the modules that the module PATH says it depends on."""
    section = ELFFile(io.BytesIO(_read_module(path))).get_section_by_name(".modinfo")
    if section is None:
        raise TargetError(f"{path} is not a kernel module: it has no .modinfo")
    fields = dict(item.partition(b"=")[::2] for item in section.data().split(b"\0"))
    names = fields.get(b"depends", b"").decode()
    return [name.replace("-", "_") for name in names.split(",") if name]


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

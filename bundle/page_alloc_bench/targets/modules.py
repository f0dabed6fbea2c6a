# SPDX-License-Identifier: GPL-2.0-only
"""The modules of a kernel, and which of its drivers are built in.

They lie in a built tree, as make leaves them there, or in a lib/modules/RELEASE, as
modules_install or a package does, compressed in any of the ways that the kernel's
scripts/Makefile.modinst knows.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from page_alloc_bench.targets.process import TargetError, need

# What a module asks for by a crypto algorithm's name, which no "depends" tells of.
_ALGORITHMS = {"ext4": ("crc32c_generic",)}


@dataclass(frozen=True)
class Modules:
    """What a kernel has built in, and where its modules are.

    ``builtin``: names, as the kernel spells them. ``files``: name → file. ``place``: the directory
    that all this was read from. ``known`` is whether there was one.
    """

    place: Path = Path()
    builtin: frozenset[str] = frozenset()
    files: Mapping[str, Path] = field(default_factory=dict)
    known: bool = True

    def has(self, drivers: Sequence[str]) -> bool:
        """Return whether each of DRIVERS is built in or a module that is there."""
        return all(name in self.builtin or name in self.files for name in drivers)

    def needed(self, drivers: Sequence[str]) -> dict[str, Path]:
        """Return the modules that DRIVERS need, in the order to insert them: name.ko → file.

        The kernel's packages hold no modules.dep (it is made at installation), so the ``depends``
        of the modules themselves is followed. Raises TargetError for one that is not there.
        """
        ordered: dict[str, Path] = {}

        def visit(name: str) -> None:
            if name in self.builtin or f"{name}.ko" in ordered:
                return
            if name not in self.files:
                raise TargetError(f"{self.place} has no module {name}: no guest can boot with it")
            needs = _depends(self.files[name])
            needs += [each for each in _ALGORITHMS.get(name, ()) if each in self.files]
            for dependency in needs:
                visit(dependency)
            ordered[f"{name}.ko"] = self.files[name]

        for driver in drivers:
            visit(driver)
        return ordered


UNKNOWN = Modules(known=False)


def installed(directory: Path) -> Modules:
    """Return the modules of DIRECTORY, a lib/modules/RELEASE."""
    files = {_name(path): path for path in directory.glob("kernel/**/*.ko*")}
    files |= {_name(path): path for path in directory.glob("updates/**/*.ko*")}
    return Modules(directory, _builtin(directory), files)


def of_tree(tree: Path, *, signed_only: bool = False) -> Modules:
    """Return the modules of a built TREE; only what has been built counts.

    With SIGNED_ONLY none, since they get their signatures when they are installed.
    """
    order = tree / "modules.order"
    lines = order.read_text().split() if order.is_file() and not signed_only else []
    # Of .o files since f65a486821cf (6.3), of .ko files before, and once with "kernel/" in front.
    paths = [tree / re.sub(r"\.k?o$", ".ko", line.removeprefix("kernel/")) for line in lines]
    return Modules(tree, _builtin(tree), {_name(path): path for path in paths if path.is_file()})


def _builtin(directory: Path) -> frozenset[str]:
    path = directory / "modules.builtin"
    lines = path.read_text().split() if path.is_file() else []
    return frozenset(_name(Path(line)) for line in lines)


def _name(path: Path) -> str:
    """Return the module's name as the kernel spells it."""
    return re.sub(r"\.ko(\.\w+)?$", "", path.name).replace("-", "_")


def _zstd(content: bytes) -> bytes:
    done = subprocess.run(
        [need("zstd", "zstd"), "-dcq"], input=content, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip())
    return done.stdout


_UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    ".ko": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": _zstd,
}


def read(path: Path) -> bytes:
    """Return the module PATH, decompressed."""
    unpack = _UNPACK.get(path.suffix)
    if unpack is None:
        raise TargetError(f"{path}: modules compressed as {path.suffix} are not supported")
    try:
        return unpack(path.read_bytes())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise TargetError(f"{path} cannot be read: {error}") from error


def _depends(path: Path) -> list[str]:
    """Return the names of the modules that the module PATH says it depends on."""
    try:
        section = ELFFile(io.BytesIO(read(path))).get_section_by_name(".modinfo")
    except ELFError as error:
        raise TargetError(f"{path} is not a kernel module: {error}") from error
    if section is None:
        raise TargetError(f"{path} is not a kernel module: it has no .modinfo")
    fields = dict(item.partition(b"=")[::2] for item in section.data().split(b"\0"))
    names = fields.get(b"depends", b"").decode()
    return [name.replace("-", "_") for name in names.split(",") if name]

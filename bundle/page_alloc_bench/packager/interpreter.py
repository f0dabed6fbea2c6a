# SPDX-License-Identifier: GPL-2.0-only
"""The Python that travels in a bundle, for hosts that have none.

It is taken from this very interpreter or from a directory tree of the target's architecture: the
program with every shared library it needs and their loader, so that it asks nothing of the host but
a kernel. Of the standard library goes along what the runner can come to import.

A slice of a bundle is a tar file in ustar format, compressed by gzip, filled up with zeros to whole
blocks. Inside:

``bin/python3``
    the program, to be started through ``lib/LOADER --library-path lib``;
``lib/``
    the libraries, the loader among them, by the names that they are asked for;
``PLATLIBDIR/pythonXY.zip``, ``PLATLIBDIR/pythonX.Y/lib-dynload/``
    the standard library where Python looks for it, given where its program lies.
"""

from __future__ import annotations

import dataclasses
import io
import os
import platform
import re
import shutil
import sys
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from page_alloc_bench.packager import libraries, process, stdlib
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.libraries import Elf, Root

BLOCK = 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)
_GZIP = 31  # zlib's wbits for a gzip header without name or time
_HOST = "build with --python host, for targets that have a Python"


@dataclass(frozen=True)
class Source:
    """Where an interpreter is taken from.

    program: absolute, and no link; version: all of it, None where only the code itself knows;
    compiler: the Python that makes its byte code, if there is one here.
    """

    root: Root
    program: Path
    library: stdlib.Library
    compiler: str | None
    version: str | None = None

    @property
    def machine(self) -> str:
        """The architecture, as uname -m says it."""
        return libraries.read(self.program).machine


@dataclass(frozen=True)
class Interpreter:
    """An interpreter ready to travel: ``data`` is its slice, ``loader`` a name in its lib/."""

    machine: str
    version: str
    loader: str
    data: bytes
    unpacked_size: int
    bytecode: bool
    licenses: dict[str, bytes] = field(default_factory=dict)


def own() -> Source:
    """Return this very interpreter; PackagerError if its parts are not where they should be."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    modules = Path(sysconfig.get_path("stdlib"))
    extensions = Path(sys.base_exec_prefix, modules.parent.name, modules.name, "lib-dynload")
    program = Path(os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable))
    if not (modules / "os.py").is_file() or not program.is_file():
        raise PackagerError(
            f"this Python ({sys.executable}) does not consist of separate files", _HOST
        )
    library = stdlib.Library(modules, extensions, version)
    return Source(Root(Path("/")), program, library, sys.executable, platform.python_version())


def from_root(top: Path) -> Source:
    """Return the newest Python in a directory tree; PackagerError if there is none."""
    top = top.resolve()
    root = Root(top)
    found = []
    for place in ("usr/local", "usr"):
        for path in top.glob(f"{place}/bin/python3.*"):
            match = re.fullmatch(r"python(3\.(\d+))", path.name)
            if match:
                found.append((int(match[2]), match[1], f"/{place}"))
    for _, version, prefix in sorted(found, reverse=True):
        for platlib in ("lib", "lib64"):
            modules = root.place(f"{prefix}/{platlib}/python{version}")
            if (modules / "os.py").is_file():
                program = root.place(f"{prefix}/bin/python{version}")
                library = stdlib.Library(modules, modules / "lib-dynload", version)
                return Source(root, program, library, stdlib.compiler_for(version))
    raise PackagerError(
        f"{top} holds no Python",
        "unpack the python3 packages of the target's architecture there (bin/python3.x, "
        "lib/python3.x and the libraries)",
    )


def make(
    source: Source, extensions: Iterable[Path], programs: Iterable[str], scratch: Path
) -> Interpreter:
    """Return the interpreter of ``source``, fit to run ``programs`` (texts of Python modules).

    extensions: the C modules that these bring along; scratch: a directory that does not exist yet.
    """
    scratch.mkdir()
    program = libraries.read(source.program)
    loader = _loader(source, program)
    modules = stdlib.needed(source.library, programs)
    dynload = {path.name: libraries.read(path) for path in modules.values() if path.suffix == ".so"}
    others = [libraries.read(path) for path in extensions]
    closure = source.root.closure([program, *dynload.values(), *others])
    closure[loader.name] = loader
    texts, bytecode = _texts(source, modules, scratch / "compiled")
    version = source.library.version
    platlib = f"{source.library.modules.parent.name}/python"
    elves = {
        "bin/python3": program,
        **{f"{platlib}{version}/lib-dynload/{name}": elf for name, elf in dynload.items()},
        **{f"lib/{name}": elf for name, elf in closure.items()},
    }
    files = {
        **{name: _stripped(elf, scratch) for name, elf in elves.items()},
        f"{platlib}{version.replace('.', '')}.zip": _zipped(texts),
        # By these two Python knows that it has found its library.
        f"{platlib}{version}/os.py": b"",
        f"{platlib}{version}/lib-dynload/.keep": b"",
    }
    return Interpreter(
        machine=program.machine,
        version=source.version or _read_version(program, closure.values(), version),
        loader=loader.name,
        data=_slice(files, executable=("bin/python3", f"lib/{loader.name}")),
        unpacked_size=sum(map(len, files.values())),
        bytecode=bytecode,
        licenses=_licenses(source, [program, *closure.values()]),
    )


def _loader(source: Source, program: Elf) -> Elf:
    """Return the loader that ``program`` asks for, under the name that it is asked by."""
    if program.loader is None:
        raise PackagerError(f"{program.path} is linked statically: it cannot load modules", _HOST)
    if "musl" in os.path.basename(program.loader):
        raise PackagerError(
            f"{program.path} is linked with musl, which cannot load the psutil in a bundle", _HOST
        )
    found = libraries.read(source.root.place(program.loader))
    # The file's own name carries a version up to glibc 2.33.
    return dataclasses.replace(found, name=os.path.basename(program.loader))


def _texts(
    source: Source, modules: Mapping[str, Path], scratch: Path
) -> tuple[dict[str, bytes], bool]:
    """Return what goes into the library's zip, and whether that is byte code."""
    if source.compiler is None:
        return stdlib.plain(modules), False
    return stdlib.compiled(modules, source.compiler, scratch), True


def _stripped(elf: Elf, scratch: Path) -> bytes:
    """Return a file without the symbols that only debuggers read, if a tool here can do that."""
    tools = [f"{elf.machine}-linux-gnu-strip", "llvm-strip"]
    if elf.machine == platform.machine():
        tools.insert(0, "strip")
    for tool in filter(shutil.which, tools if elf.has_symbols else ()):
        target = scratch / "stripped"
        command = [tool, "--strip-unneeded", "-o", str(target), str(elf.path)]
        if process.run(command).status == 0:
            return target.read_bytes()
    return elf.path.read_bytes()


def _zipped(texts: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed zip, which imports fastest; the slice around it is compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(texts):
            target.writestr(zipfile.ZipInfo(name, _EPOCH), texts[name])
    return buffer.getvalue()


def _slice(files: Mapping[str, bytes], executable: Container[str]) -> bytes:
    """Return ``files`` with their directories as a slice, equal for equal files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as target:
        for directory in sorted({str(p) for name in files for p in Path(name).parents} - {"."}):
            entry = tarfile.TarInfo(directory)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o755
            target.addfile(entry)
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o755 if name in executable else 0o644
            target.addfile(entry, io.BytesIO(files[name]))
    compressor = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    data = compressor.compress(buffer.getvalue()) + compressor.flush()
    return data + bytes(-len(data) % BLOCK)


def _read_version(program: Elf, others: Iterable[Elf], version: str) -> str:
    """Return the version as the interpreter's own code has it, such as 3.11.2."""
    pattern = re.compile(rb"\0(" + re.escape(version).encode() + rb"\.\d+(?:(?:a|b|rc)\d+)?\+?)\0")
    for elf in (program, *(other for other in others if other.name.startswith("libpython"))):
        match = pattern.search(elf.path.read_bytes())
        if match:
            return match[1].decode()
    return version


def _licenses(source: Source, files: Iterable[Elf]) -> dict[str, bytes]:
    """Return the licence texts of ``files`` and of Python by name, as far as the source has them.

    Debian's packages say which file is whose. A tree of unpacked packages does not, but holds
    few others.
    """
    top = source.root.top
    found = {}
    own_text = source.library.modules / "LICENSE.txt"
    if own_text.is_file():
        found["python"] = own_text.read_bytes()
    for package in _packages(top, {_unmerged(top, elf.path) for elf in files}):
        text = source.root.place(f"/usr/share/doc/{package}/copyright")
        if text.is_file():
            found[package] = text.read_bytes()
    shared = source.root.place("/usr/share/common-licenses/LGPL-2.1")
    if "libc6" in found and shared.is_file():
        found["LGPL-2.1"] = shared.read_bytes()
    return found


def _packages(top: Path, names: Set[str]) -> list[str]:
    """Return the Debian packages that own any of the files ``names``, or else all of the tree."""
    lists = sorted(top.glob("var/lib/dpkg/info/*.list"))
    if not lists:
        return sorted(path.parent.name for path in top.glob("usr/share/doc/*/copyright"))
    return sorted(
        {
            path.stem.partition(":")[0]
            for path in lists
            for line in path.read_text(errors="replace").splitlines()
            if line.removeprefix("/usr") in names
        }
    )


def _unmerged(top: Path, path: Path) -> str:
    """Return a file's name in the tree as it was before /lib became /usr/lib."""
    return f"/{path.relative_to(top)}".removeprefix("/usr")

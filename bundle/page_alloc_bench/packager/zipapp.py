# SPDX-License-Identifier: GPL-2.0-only
"""The zip of a bundle: shiv's zipapp of the runner, repacked so that equal inputs give equal bytes.

A zip is handled as a mapping from a name to a Member throughout.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import page_alloc_bench
from page_alloc_bench.packager import process
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.slim import slim, slim_library, slim_schema
from page_alloc_bench.runner.result.document import SCHEMA

ENTRY_POINT = "page_alloc_bench.runner.unpacked:main"
_PACKAGE = Path(page_alloc_bench.__file__).parent
_LAUNCHER = _PACKAGE / "runner" / "launch.py"
# psutil's modules for Linux; the rest of the wheel is other systems and packaging.
_PSUTIL = (
    "__init__.py", "_common.py", "_ntuples.py", "_pslinux.py", "_psposix.py",
    "_psutil_linux.abi3.so",
)  # fmt: skip
# The earliest time that a zip can state.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DEFLATE_LEVEL = 9
_UNIX = 3
_REGULAR_FILE = 0o100000


@dataclass(frozen=True)
class Member:
    """A file of the zip."""

    data: bytes
    executable: bool = False


Members = dict[str, Member]


def runner_sources() -> dict[str, bytes]:
    """Return what travels of this package: its top and the runner, by name under its parent."""
    paths = [_PACKAGE / "__init__.py", *sorted((_PACKAGE / "runner").rglob("*"))]
    typed = _PACKAGE / "py.typed"
    if typed.exists():
        paths.append(typed)
    return {
        path.relative_to(_PACKAGE.parent).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file()
        and path.suffix != ".pyc"
        and not path.name.startswith(".")
        and path.name != _LAUNCHER.name
    }


def launcher() -> bytes:
    """Return what Python runs first; it stands in for the three lines that shiv puts there."""
    return _LAUNCHER.read_bytes()


def runner_part(members: Mapping[str, Member]) -> dict[str, bytes]:
    """Return what of ``members`` is this project's Python, by name."""
    ours = ("__main__.py", "site-packages/page_alloc_bench/")
    return {name: member.data for name, member in members.items() if name.startswith(ours)}


def programs(members: Mapping[str, Member]) -> list[str]:
    """Return the source of every Python program that a bundle of ``members`` may run."""
    sources = [member.data.decode() for name, member in members.items() if name.endswith(".py")]
    return [*sources, launcher().decode()]


def make_members(wheels: Mapping[str, Path], scratch: Path) -> Members:
    """Return shiv's zipapp of the runner and of psutil out of ``wheels``, one for each machine.

    ``scratch`` is an existing directory for what is in between. Each psutil has a directory of its
    machine's name, of which launch.py picks the host's.
    """
    site_packages = scratch / "site-packages"
    for name, data in runner_sources().items():
        target = site_packages / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_travelling(name, data))
    for machine, wheel in wheels.items():
        _unpack_psutil(wheel, site_packages / machine)
    _same_modes(site_packages)
    members = _shiv(site_packages, scratch / "runner.pyz")
    for wheel in wheels.values():
        members["licenses/psutil.txt"] = Member(_license_of(wheel))
    return members


def extensions(wheel: Path, directory: Path) -> list[Path]:
    """Lay the C modules of psutil's ``wheel`` out in ``directory``; return their paths."""
    _unpack_psutil(wheel, directory)
    return sorted(directory.rglob("*.so"))


def pack(prefix: bytes, members: Mapping[str, Member]) -> bytes:
    """Return ``prefix`` and after it a zip of ``members``, its offsets counted from the prefix on.

    Counting from the start of the file is what unzip and Python's own reader expect of a zip that
    has something in front.
    """
    buffer = io.BytesIO(prefix)
    buffer.seek(0, os.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL) as target:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if members[name].executable else 0o644
            entry.external_attr = (_REGULAR_FILE | mode) << 16
            target.writestr(entry, members[name].data, compresslevel=_DEFLATE_LEVEL)
    return buffer.getvalue()


def _travelling(name: str, data: bytes) -> bytes:
    """Return a file as a bundle has it."""
    if name.endswith(f"/{SCHEMA}"):
        return slim_schema(data.decode()).encode()
    if name.endswith(".so"):
        return slim_library(data)
    return slim(data.decode()).encode() if name.endswith(".py") else data


def _unpack_psutil(wheel: Path, site_packages: Path) -> None:
    with zipfile.ZipFile(wheel) as source:
        names = set(source.namelist())
        for name in (f"psutil/{module}" for module in _PSUTIL):
            if name in names:
                target = site_packages / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(_travelling(name, source.read(name)))


def _license_of(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as source:
        for name in source.namelist():
            if name.endswith(("/LICENSE", "/LICENSE.txt")):
                return source.read(name)
    raise PackagerError(f"{wheel} has no licence text", "delete it; it will be downloaded again")


def _same_modes(top: Path) -> None:
    """Give every file the same mode, since shiv's build id depends on more than content."""
    for path in top.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _shiv(site_packages: Path, output: Path) -> Members:
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    finished = process.run(
        [
            sys.executable, "-W", "ignore", "-m", "shiv", "--reproducible", "--site-packages",
            str(site_packages), "--entry-point", ENTRY_POINT, "--output-file", str(output),
        ],
        env=environment,
    )  # fmt: skip
    if finished.status != 0 or not output.exists():
        raise PackagerError(
            f"shiv failed:\n{(finished.stderr or finished.stdout).strip()}",
            "is shiv installed beside page-alloc-bench? Install page-alloc-bench again",
        )
    with zipfile.ZipFile(output) as archive:
        members = {
            entry.filename: Member(archive.read(entry), entry.filename.endswith(".so"))
            for entry in archive.infolist()
            if not entry.is_dir()
        }
    shutil.rmtree(site_packages)
    return members

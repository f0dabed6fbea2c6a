# SPDX-License-Identifier: GPL-2.0-only
"""What a bundle can do besides running: ``--list --check --info --extract DIR``.

Results go to stdout, everything else to stderr. ``--info`` is text for a person on a terminal, and
the manifest's own JSON when stdout goes anywhere else.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from page_alloc_bench.runner.bundle_file.archive import (
    MANIFEST,
    Archive,
    ArchiveError,
    interpreters,
)
from page_alloc_bench.runner.errors import RunnerError
from page_alloc_bench.runner.lifetime import safe_paths
from page_alloc_bench.runner.telling import streams

OK = 0
FAILED = 1

# Of no use outside a bundle file.
_BUNDLE_ONLY = ("_bootstrap/", "environment.json", "stub.crc32")


def run_verb(name: str, archive: Archive, argument: str | None = None) -> int:
    """Carry out the verb ``name`` ("list", "check", "info" or "extract"); return the exit code.

    ``argument`` is the directory of "extract".
    """
    try:
        if name == "list":
            return list_parts(archive)
        if name == "check":
            return check(archive)
        if name == "info":
            return info(archive)
        if name == "extract":
            return extract(archive, Path(argument or ""))
    except RunnerError as error:
        streams.say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        streams.say(f"error: {error.filename or archive.path}: {error.strerror}")
        return FAILED
    raise ValueError(f"unknown verb {name}")


def list_parts(archive: Archive) -> int:
    """Print the size and the name of every part."""
    streams.tell("\n".join(f"{len(archive.read(name)):>9,}  {name}" for name in archive.names()))
    return OK


def check(archive: Archive) -> int:
    """Compare every byte of the bundle with what it promises."""
    problems = archive.problems()
    for problem in problems:
        streams.say(f"{archive.path}: {problem}")
    if problems:
        streams.say(f"{archive.path} is damaged: copy it again")
        return FAILED
    streams.say(f"{archive.path}: all {len(archive.names())} parts are unchanged")
    return OK


def info(archive: Archive) -> int:
    """Print what the bundle is made of."""
    manifest = archive.manifest()
    streams.tell(describe(manifest) if os.isatty(1) else json.dumps(manifest, indent=2))
    return OK


def describe(manifest: dict[str, Any]) -> str:
    """Return the manifest as text for a person."""
    tool, source = manifest["tool"], manifest["source"]
    lines = [
        f"{tool['name']} {tool['version']}",
        f"source of the module  {source['kmod']}",
        f"source of the runner  {source['runner']}",
    ]
    for module in manifest["modules"]:
        lines += [
            "",
            f"Linux {module['release']} ({module['machine']})",
            f"  vermagic    {module['vermagic']}",
            f"  compiler    {module['compiler']}",
            f"  srcversion  {module['srcversion'] or 'not recorded'}",
            f"  size        {module['size']:,} bytes",
            f"  sha256      {module['sha256']}",
        ]
    for python in interpreters(manifest):
        lines += [
            "",
            f"embedded Python {python['version']} ({python['machine']})",
            f"  size        {python['size']:,} bytes, {python['unpacked_size']:,} unpacked",
            f"  sha256      {python['sha256']}",
        ]
    return "\n".join(lines)


def extract(archive: Archive, target: Path) -> int:
    """Lay the parts out under ``target`` as plain files, ``run.sh`` runs them.

    ``target`` is made if need be and must be empty, and nobody else may be able to write to it,
    nor have made a link to it: what is laid out here may be started by root. The bundle is checked
    first.
    """
    if archive.extracted:
        streams.say(f"{archive.path} is extracted already")
        return FAILED
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        streams.say(f"{target} exists and is not an empty directory")
        return FAILED
    problems = archive.problems()
    if problems:
        streams.say(f"{archive.path} is damaged: {problems[0]}")
        return FAILED
    with ExitStack() as undo:
        directory = _open_target(target, undo)
        for name in archive.names():
            if not name.startswith(_BUNDLE_ONLY):
                _lay_out(archive, name, directory, target, undo)
        undo.pop_all()
        os.close(directory)
    streams.say(f"start {target / 'run.sh'} as you would start the bundle")
    return OK


def _open_target(target: Path, undo: ExitStack) -> int:
    """Return a descriptor of the directory to lay out in, made if need be. Raises OSError.

    undo: removes what is made here, should what follows fail.
    """
    path = Path(os.path.abspath(target))
    for above in reversed(path.parents):
        if not os.path.lexists(above):
            above.mkdir()
            undo.callback(_unless_in_use, above)
    parent = safe_paths.open_place(f"{path.parent}/.")[0]
    try:
        with suppress(FileExistsError):
            os.mkdir(path.name or ".", 0o755, dir_fd=parent)
            undo.callback(_unless_in_use, path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path.name or ".", flags, dir_fd=parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        os.close(parent)
    status = os.fstat(descriptor)
    undo.callback(os.close, descriptor)
    if not safe_paths.is_ours(status.st_uid) or status.st_mode & 0o022:
        raise OSError(errno.EPERM, "other users can write to it: name a new directory", str(target))
    return descriptor


def _unless_in_use(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _lay_out(archive: Archive, name: str, directory: int, target: Path, undo: ExitStack) -> None:
    """Write one part below a directory that nobody else can write to; it is called target."""
    if os.path.isabs(name) or ".." in Path(name).parts:
        raise ArchiveError(f"{archive.path} has a part whose name leads out of it: {name}")
    for parent in reversed(list(Path(name).parents)[:-1]):
        with suppress(FileExistsError):
            os.mkdir(parent, 0o755, dir_fd=directory)
            undo.callback(os.rmdir, parent, dir_fd=directory)
    data = archive.read(name)
    if name == MANIFEST:
        data = _extracted_manifest(archive)
    mode = 0o777 if archive.is_executable(name) else 0o666
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, mode, dir_fd=directory)
        undo.callback(os.unlink, name, dir_fd=directory)
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target / name)) from error


def _extracted_manifest(archive: Archive) -> bytes:
    """Return the manifest without the parts that are not laid out."""
    manifest = archive.manifest()
    manifest["parts"] = [
        part for part in manifest["parts"] if not part["name"].startswith(_BUNDLE_ONLY)
    ]
    return (json.dumps(manifest, indent=2) + "\n").encode()

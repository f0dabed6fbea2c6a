# SPDX-License-Identifier: GPL-2.0-only
"""Which build of a kernel this is: one that a tree is of, or the one that is running.

A release (uname -r) names many builds: kernels that are changed and built again keep it. A module
that was made for another of them may see other structures than the kernel does.

What tells builds apart, an *identity*, is a dict, and each value may be None:

- build_id: the linker's digest of the whole kernel, in hexadecimal: a note in vmlinux, and in
  /sys/kernel/notes. It decides where both sides have it.
- version: UTS_VERSION, uname -v. It counts the builds of a tree, or names a distribution's package;
  kbuild writes it into include/generated as it links the kernel (init/Makefile).
- config: a digest of the options that shape code.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from . import elf

Identity = dict[str, Optional[str]]

# What each is called to a person, the one that decides first.
WORDS = {
    "build_id": "build id",
    "version": "uname -v",
    "config": "configuration's digest",
}

_NOTE = (b"GNU\0", 3)  # NT_GNU_BUILD_ID
_DIGITS_SHOWN = 12  # of a digest
_NOTES_BYTES = 1 << 20  # more than any kernel has
# Options by number or by y and m: names of keys, of people and of compilers shape no code. Nor do
# those that say what the compiler can do, which follow from which one looked at the tree last.
_SHAPING = re.compile(r"^CONFIG_(\w+)=([ym]|-?\d+|0x[0-9a-fA-F]+)$", re.MULTILINE)
_OF_TOOLS = re.compile(
    r"MODULE_SIG_ALL|(AS|CC|CLANG|GCC|LD|LLD|PAHOLE|RUSTC)_.*|\w+_VERSION|TOOLS_SUPPORT_\w+"
)


@dataclass(frozen=True)
class Verdict:
    """What comes of two identities.

    same: whether they are of one build; None where that cannot be told. by: the evidence, a key of
    WORDS; None where the two have none in common.
    """

    same: bool | None
    by: str | None


def compare(built: Identity, running: Identity) -> Verdict:
    """Hold what a module was made for against what runs: the first evidence of both decides.

    A configuration alone can tell builds apart, and not that they are one. A version is written
    anew for each build but where a tree is told to (KBUILD_BUILD_TIMESTAMP): equal versions of two
    configurations tell nothing.
    """
    alike = {
        name: built.get(name) == running.get(name)
        for name in WORDS
        if built.get(name) and running.get(name)
    }
    if "build_id" in alike:
        return Verdict(alike["build_id"], "build_id")
    if alike.get("version") is False:
        return Verdict(False, "version")
    if alike.get("config") is False:
        return Verdict(None if "version" in alike else False, "config")
    if "version" in alike:
        return Verdict(True, "version")
    return Verdict(None, "config" if "config" in alike else None)


def of_tree(tree: str) -> Identity:
    """Return the identity of the kernel that was last built in a tree, as far as it has one.

    A headers package has no vmlinux, or one with nothing but types in it; a tree with no more than
    modules_prepare has nothing but a configuration.
    """
    return {
        "build_id": _build_id_of_file(f"{tree}/vmlinux"),
        "version": _version_of_tree(tree),
        "config": _config_of_tree(tree),
    }


def of_running(version: str, config: str | None, root: str = "/") -> Identity:
    """Return the identity of the kernel that runs.

    version: as uname says it. config: the text of its configuration, None if there is none.
    """
    return {
        "build_id": _build_id_of_notes(os.path.join(root, "sys/kernel/notes")),
        "version": version or None,
        "config": None if config is None else config_digest(config),
    }


def config_digest(text: str) -> str:
    """Return a digest of the options in a .config or an auto.conf that shape code."""
    import hashlib

    options = sorted(
        f"{name}={value}" for name, value in _SHAPING.findall(text) if not _OF_TOOLS.fullmatch(name)
    )
    return hashlib.sha256("\n".join(options).encode()).hexdigest()


def _version_of_tree(tree: str) -> str | None:
    """Return UTS_VERSION: in a file of its own from 6.1 on, before that in compile.h."""
    for name in ("utsversion.h", "compile.h"):
        text = _read(f"{tree}/include/generated/{name}") or ""
        found = re.search(r'^#define\s+UTS_VERSION\s+"(.*)"\s*$', text, re.MULTILINE)
        if found:
            return found[1]
    return None


def _config_of_tree(tree: str) -> str | None:
    for name in ("include/config/auto.conf", ".config"):
        text = _read(f"{tree}/{name}")
        if text is not None:
            return config_digest(text)
    return None


def _read(path: str) -> str | None:
    """Return a file's text, None if there is none to be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _build_id_of_notes(path: str) -> str | None:
    """Return the build id among the running kernel's notes, which have its byte order."""
    try:
        with open(path, "rb") as file:
            return of_notes(file.read(_NOTES_BYTES))
    except OSError:
        return None


def of_notes(notes: bytes) -> str | None:
    """Return the build id in what /sys/kernel/notes has on a machine of this one's byte order."""
    try:
        return _build_id(notes, "=")
    except struct.error:
        return None


def _build_id_of_file(path: str) -> str | None:
    """Return the build id of an ELF file; None for another kind of file, or where it has none."""
    try:
        with open(path, "rb") as file:
            order, sections = elf.sections(file)
            notes = [
                elf.content(file, each.offset, min(each.size, _NOTES_BYTES))
                for each in sections
                if each.kind == elf.SHT_NOTE
            ]
        found = [_build_id(data, order) for data in notes]
    except (OSError, elf.NotElfError, struct.error):
        return None
    return next(filter(None, found), None)


def _build_id(notes: bytes, order: str) -> str | None:
    for name, kind, content in _notes(notes, order):
        if (name, kind) == _NOTE and content:
            return content.hex()
    return None


def _notes(data: bytes, order: str) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield name, type and content of each note; all of them begin at a multiple of 4 bytes."""
    place = 0
    while place + 12 <= len(data):
        name_size, size, kind = struct.unpack_from(f"{order}III", data, place)
        name = place + 12
        content = name + (name_size + 3) // 4 * 4
        yield data[name : name + name_size], kind, data[content : content + size]
        place = content + (size + 3) // 4 * 4


def words(verdict: Verdict, built: Identity, running: Identity) -> str:
    """Return what the verdict rests on, as in "its build id is 0123…, and this kernel's abcd…"."""
    if verdict.by is None:
        return "it is not known which build that was"
    if verdict.same is None and built[verdict.by] == running[verdict.by]:
        return "only its configuration is known, and it is that of this kernel"
    shown = slice(None if verdict.by == "version" else _DIGITS_SHOWN)
    ours, its = ((side[verdict.by] or "")[shown] for side in (built, running))
    differs = f"its {WORDS[verdict.by]} is {ours}, and this kernel's {its}"
    return differs if verdict.same is False else f"uname -v is the same, but {differs}"


def of_entry(entry: dict[str, Any]) -> Identity:
    """Return what a manifest's entry of a module says that it was made for."""
    return {name: (entry.get("build") or {}).get(name) for name in WORDS}

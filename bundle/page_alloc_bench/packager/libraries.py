# SPDX-License-Identifier: GPL-2.0-only
"""The shared libraries that ELF files need, found without running any of them.

So they are found in a directory tree of another architecture too. Not ldd's way of doing it, which
starts the loader of the file in question.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.module_info import MACHINES

_LINKS_AT_MOST = 40


@dataclass(frozen=True)
class Elf:
    """What the loader reads in a program or a shared library.

    name: what others ask for it by; machine: as uname -m says it, or ELF's own name; loader: None
    for what is not a program that needs one; search: the directories that the file itself names,
    $ORIGIN still in them.
    """

    path: Path
    name: str
    machine: str
    loader: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]
    has_symbols: bool


def read(path: Path) -> Elf:
    """Return what ``path`` says of itself; PackagerError when it is not an ELF file."""
    try:
        with path.open("rb") as file:
            return _read(path, ELFFile(file))
    except (OSError, ELFError) as error:
        raise PackagerError(f"{path} cannot be read as an ELF file: {error}") from error


def _read(path: Path, elf: ELFFile) -> Elf:
    loader = None
    needed: list[str] = []
    search: list[str] = []
    for segment in elf.iter_segments("PT_INTERP"):
        loader = segment.get_interp_name()  # type: ignore[attr-defined] # by the segment's type
    for segment in elf.iter_segments("PT_DYNAMIC"):
        for tag in segment.iter_tags():  # type: ignore[attr-defined] # by the segment's type
            if tag.entry.d_tag == "DT_NEEDED":
                needed.append(tag.needed)
            elif tag.entry.d_tag in ("DT_RUNPATH", "DT_RPATH"):
                text = getattr(tag, tag.entry.d_tag[3:].lower())
                search += text.split(":")
    machine = elf["e_machine"]
    return Elf(
        path=path,
        name=path.name,
        machine=MACHINES.get(machine, machine),
        loader=loader,
        needed=tuple(needed),
        search=tuple(search),
        has_symbols=elf.get_section_by_name(".symtab") is not None,
    )


class Root:
    """A directory tree in which a system's files lie as they would under /."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._directories = [*self._configured("/etc/ld.so.conf"), *self._usual()]

    def place(self, name: str) -> Path:
        """Return where the file lies that is ``name`` (absolute) in the tree, links followed.

        A link's target is taken as inside the tree, as it would be under chroot.
        """
        place = self.top
        waiting = [part for part in reversed(name.split("/")) if part]
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                place = place.parent if place != self.top else place
                continue
            step = place / part
            if not step.is_symlink():
                place = step
                continue
            links += 1
            if links > _LINKS_AT_MOST:
                raise PackagerError(f"{name} in {self.top} is a link to itself")
            target = os.readlink(step)
            if target.startswith("/"):
                place = self.top
            waiting += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return place

    def closure(self, files: Iterable[Elf]) -> dict[str, Elf]:
        """Return every library that ``files`` need, directly or not, by the name they ask for.

        PackagerError when one is missing.
        """
        found: dict[str, Elf] = {}
        waiting = [(file, name) for file in files for name in file.needed]
        while waiting:
            file, name = waiting.pop()
            if name not in found:
                found[name] = self._library(file, name)
                waiting += [(found[name], other) for other in found[name].needed]
        return found

    def _library(self, file: Elf, name: str) -> Elf:
        for directory in (*self._own_search(file), *self._directories):
            candidate = self.place(f"{directory}/{name}")
            if candidate.is_file():
                library = read(candidate)
                if library.machine == file.machine:
                    return library
        raise PackagerError(
            f"{name}, which {file.path} needs, is not in {self.top}",
            "install the package that has it, or build with --python host",
        )

    def _own_search(self, file: Elf) -> Iterator[str]:
        for directory in file.search:
            origin = "/" + os.path.relpath(file.path.parent, self.top)
            yield directory.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)

    def _usual(self) -> list[str]:
        """Return the directories that a loader looks in by itself, Debian's multiarch included."""
        multiarch = sorted(
            f"/{path.relative_to(self.top)}"
            for parent in ("lib", "usr/lib")
            for path in self.top.glob(f"{parent}/*-linux-gnu*")
        )
        plain = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
        return [*multiarch, *plain]

    def _configured(self, name: str, depth: int = 0) -> list[str]:
        """Return the directories of ld.so.conf, which may include other files."""
        try:
            lines = self.place(name).read_text(errors="replace").splitlines()
        except OSError:
            return []
        found: list[str] = []
        for line in lines:
            words = line.partition("#")[0].split()
            if words[:1] == ["include"] and depth < _LINKS_AT_MOST:
                for pattern in words[1:]:
                    beside = os.path.join(os.path.dirname(name), pattern)
                    for path in sorted(glob.glob(f"{self.top}/{beside.lstrip('/')}")):
                        found += self._configured("/" + os.path.relpath(path, self.top), depth + 1)
            else:
                found += words
        return found

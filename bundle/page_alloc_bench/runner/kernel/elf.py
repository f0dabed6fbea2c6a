# SPDX-License-Identifier: GPL-2.0-only
"""The sections of an ELF file: enough to read modules, and the notes of a kernel."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

SHT_NOTE = 7
_HEADER_BYTES = 64
# By EI_CLASS: the ELF header from e_shoff on, and a section header up to sh_size.
_LAYOUTS = {1: (32, "IIHHHHHH", "IIIIII"), 2: (40, "QIHHHHHH", "IIQQQQ")}


class NotElfError(ValueError):
    """The file is not an ELF file, or a damaged one."""


@dataclass(frozen=True)
class Section:
    """kind: SHT_ and so on. offset, size: where its content is in the file, in bytes."""

    name: str
    kind: int
    offset: int
    size: int


def sections(file: BinaryIO) -> tuple[str, list[Section]]:
    """Return the byte order, as struct writes it, and the sections. Raises NotElfError."""
    head = file.read(_HEADER_BYTES)
    if head[:4] != b"\x7fELF":
        raise NotElfError("it is not an ELF file")
    try:
        start, header, section = _LAYOUTS[head[4]]
        order = "<" if head[5] == 1 else ">"
        table, _, _, _, _, size, count, names = struct.unpack_from(order + header, head, start)
        data = content(file, table, size * count)
        found = [struct.unpack_from(order + section, data, size * n) for n in range(count)]
        if not found:
            return order, []
        text = content(file, *found[names][4:])
        return order, [
            Section(text[row[0] : text.index(b"\0", row[0])].decode(), row[1], row[4], row[5])
            for row in found
        ]
    except (struct.error, LookupError, ValueError, OverflowError, MemoryError) as error:
        raise NotElfError(f"a damaged ELF file: {error}") from error


def content(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return that part of a file, or as much of it as there is."""
    file.seek(offset)
    return file.read(size)

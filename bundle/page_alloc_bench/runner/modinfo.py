# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel module says about itself, read from its ELF file."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# By EI_CLASS: the ELF header from e_shoff on, a section header up to sh_size, and its length.
_LAYOUTS = {1: (32, "IIHHHHHH", "IIIIII", 40), 2: (40, "QIHHHHHH", "IIQQQQ", 64)}


class NotAModuleError(ValueError):
    """The file is not a kernel module."""


def read(image: bytes) -> dict[str, str]:
    """Return the pairs of .modinfo and, under "compiler", what .comment says.

    Raises NotAModuleError.
    """
    try:
        sections = dict(_sections(image))
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise NotAModuleError(f"not an ELF file, or a damaged one: {error}") from error
    if ".modinfo" not in sections:
        raise NotAModuleError("it has no .modinfo section")
    strings = sections[".modinfo"].decode(errors="replace").split("\0")
    info = dict(text.split("=", 1) for text in strings if "=" in text)
    comment = sections.get(".comment", b"").strip(b"\0").partition(b"\0")[0]
    return {**info, "compiler": comment.decode(errors="replace")}


def _sections(image: bytes) -> Iterator[tuple[str, bytes]]:
    if image[:4] != b"\x7fELF":
        raise ValueError("no ELF magic")
    start, header, section, size = _LAYOUTS[image[4]]
    order = "<" if image[5] == 1 else ">"
    table, _, _, _, _, _, count, names = struct.unpack_from(order + header, image, start)
    headers = [
        struct.unpack_from(order + section, image, table + number * size) for number in range(count)
    ]
    text = _content(image, headers[names])
    for found in headers:
        end = text.index(b"\0", found[0])
        yield text[found[0] : end].decode(), _content(image, found)


def _content(image: bytes, header: tuple[int, ...]) -> bytes:
    _, _, _, _, offset, size = header
    return image[offset : offset + size]

# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel module says about itself, read from its ELF file."""

from __future__ import annotations

import io

from page_alloc_bench.runner.kernel import elf


class NotAModuleError(ValueError):
    """The file is not a kernel module."""


def read(image: bytes) -> dict[str, str]:
    """Return the pairs of .modinfo and, under "compiler", what .comment says.

    Raises NotAModuleError.
    """
    file = io.BytesIO(image)
    try:
        _, sections = elf.sections(file)
    except elf.NotElfError as error:
        raise NotAModuleError(str(error)) from error
    texts = {each.name: elf.content(file, each.offset, each.size) for each in sections}
    if ".modinfo" not in texts:
        raise NotAModuleError("it has no .modinfo section")
    strings = texts[".modinfo"].decode(errors="replace").split("\0")
    info = dict(text.split("=", 1) for text in strings if "=" in text)
    comment = texts.get(".comment", b"").strip(b"\0").partition(b"\0")[0]
    return {**info, "compiler": comment.decode(errors="replace")}

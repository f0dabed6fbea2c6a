# SPDX-License-Identifier: GPL-2.0-only
"""Find in a grub.cfg the entry that boots a kernel."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_OPENS = re.compile(r"\s*(menuentry|submenu)\s+(['\"])(.*?)\2(.*)\{\s*$")
_ID = re.compile(r"(?:--id|\$menuentry_id_option)\s+(['\"]?)([^\s'\"]+)\1")
_LINUX = re.compile(r"\s*linux(?:16|efi)?\s+(?:\([^)]*\))?(\S+)(.*)")
_RESCUE = re.compile(r"\brecovery\b|\bsingle\b|\brescue\b")


@dataclass(frozen=True)
class Entry:
    """An entry. path: what grub-reboot takes. image: the kernel, as GRUB sees it. words: for it.

    body: the lines between its braces.
    """

    path: str
    image: str
    words: str
    body: tuple[str, ...]


def entries(text: str) -> list[Entry]:
    """Return the entries of a grub.cfg that boot a kernel, in their order."""
    found = []
    within: list[str | None] = []  # of each brace that is open: the id of its entry, if it has one
    lines = text.splitlines()
    begins = 0  # the body of the entry that was opened last
    for number, line in enumerate(lines):
        opens = _OPENS.match(line)
        linux = _LINUX.match(line)
        if opens:
            named = _ID.search(opens[4])
            within.append(named[2] if named else opens[3])
            begins = number + 1
        elif line.rstrip().endswith("{"):
            within.append(None)
        elif line.strip() == "}" and within:
            within.pop()
        elif linux and any(within):
            path = ">".join(name for name in within if name)
            body = tuple(itertools.takewhile(lambda each: each.strip() != "}", lines[begins:]))
            found.append(Entry(path, linux[1], linux[2].strip(), body))
    return found


def entry_of(text: str, image: str, cmdline: str) -> Entry | None:
    """Return the entry that boots an image of the host; None if there is none.

    image: as the host sees it; GRUB sees it from the top of its file system. cmdline: of the host:
    of two entries the one is taken that has its root, because other systems on the disks may have
    an image of this name too.
    """
    found = [
        entry
        for entry in entries(text)
        if entry.image.startswith("/")
        and image.endswith(entry.image)
        and not _RESCUE.search(f"{entry.path} {entry.words}")
    ]
    root = _root(cmdline)
    found.sort(key=lambda entry: _root(entry.words) != root)
    return found[0] if found else None


def _root(cmdline: str) -> str:
    return next((word for word in cmdline.split() if word.startswith("root=")), "")

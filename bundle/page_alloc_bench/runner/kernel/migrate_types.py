# SPDX-License-Identifier: GPL-2.0-only
"""The migrate types of this kernel: /proc/pagetypeinfo, mm/vmstat.c."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import procfs


@dataclass(frozen=True)
class MigrateTypes:
    """block_order: of a page block, which has a type. names: of the types, in the kernel's order.

    Which number a type has is the kernel's own business: enum migratetype, include/linux/mmzone.h.
    """

    block_order: int
    names: tuple[str, ...]

    def number(self, name: str) -> int:
        """Return the number of a type. Raises ValueError for one that there is not."""
        return self.names.index(name)


def read() -> MigrateTypes | None:
    """Return the types; None where the kernel does not tell them."""
    text = procfs.read_or_none("/proc/pagetypeinfo")
    return None if text is None else parse(text)


def parse(text: str) -> MigrateTypes | None:
    """Return the types that the text of the file tells; None if it does not."""
    order = re.search(r"^Page block order: (\d+)$", text, re.MULTILINE)
    names = re.search(r"^Number of blocks type +(\S.*)$", text, re.MULTILINE)
    if order is None or names is None:
        return None
    return MigrateTypes(int(order[1]), tuple(names[1].split()))

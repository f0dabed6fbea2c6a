# SPDX-License-Identifier: GPL-2.0-only
"""Where tests compile for trees whose build tools do not run on this host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench.packager.place import Place
from page_alloc_bench.targets import build_root


def place(*trees: Path) -> Place:
    """Return the build root, which sees these trees."""

    def command(argv: Sequence[str], written: Sequence[Path], read: Sequence[Path]) -> list[str]:
        return build_root.command(argv, writable=written, readonly=[*trees, *read])

    return Place(command, build_root.find)

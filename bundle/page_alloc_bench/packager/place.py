# SPDX-License-Identifier: GPL-2.0-only
"""Where compilers and a tree's own tools run: on this host, or in a root that is newer than it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """``command``: a command and the paths it writes to and reads, beside the tree's, are given;
    the command that runs it in the place is returned. ``which``: as shutil.which, in the place.
    """

    command: Callable[[Sequence[str], Sequence[Path], Sequence[Path]], list[str]]
    which: Callable[[str], str | None]


def _as_it_is(argv: Sequence[str], _written: Sequence[Path], _read: Sequence[Path]) -> list[str]:
    return list(argv)


HERE = Place(_as_it_is, shutil.which)

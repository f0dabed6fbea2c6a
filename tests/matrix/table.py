# SPDX-License-Identifier: GPL-2.0-only
"""What became of the rows of the support matrix, and how its README.md shows it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

import readme

_HEAD = ("kernel", "release", "architecture", "compiler", "nodes", "host", "Python", "notes")


@dataclass
class Row:
    """One kernel of the matrix; what is not known (yet) is "-".

    ``compiler`` is the one that built the module, ``seconds`` the time of the whole test.
    """

    kernel: str
    architecture: str
    host: str
    notes: str
    release: str = "-"
    compiler: str = "-"
    nodes: str = "-"
    python: str = "-"
    outcome: str = "-"
    seconds: float = 0.0

    def cells(self) -> list[str]:
        """Return what a table shows, in the order of its head, without outcome and seconds."""
        return [self.kernel, self.release, self.architecture, self.compiler, self.nodes, self.host,
                self.python, self.notes]  # fmt: skip


def short(compiler: str) -> str:
    """Return name and version of COMPILER, as it describes itself in a module."""
    # What is in brackets is the distribution's.
    version = re.search(r"\d+(\.\d+)+", re.sub(r"\([^)]*\)", "", compiler))
    if not version:
        return compiler
    return f"{'clang' if 'clang' in compiler else 'gcc'} {version[0]}"


def in_columns(rows: Sequence[Row]) -> str:
    """Return ROWS for a terminal, a line each."""
    cells = [[*_HEAD[:-1], "outcome", "seconds"]]
    cells += [[*row.cells()[:-1], row.outcome, f"{row.seconds:.0f}"] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def in_markdown(rows: Sequence[Row], made_on: datetime.date, emulator: str) -> str:
    """Return ROWS as tests/matrix/README.md has them, with what they were run by."""
    lines = [" | ".join(line) for line in (_HEAD, ["---"] * len(_HEAD), *(r.cells() for r in rows))]
    table = "\n".join(f"| {line} |" for line in lines)
    return f"{readme.heading(made_on, emulator)}\n\n{table}"

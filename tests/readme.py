# SPDX-License-Identifier: GPL-2.0-only
"""The tables of what the tests have seen: each in the README.md beside the tests that write it."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

import page_alloc_bench
from page_alloc_bench.targets.process import run

TESTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Place:
    """Where the table called NAME stands, and the COMMAND that writes it.

    name: also that of the directory of tests whose README.md it is.
    """

    name: str
    command: str

    @property
    def path(self) -> Path:
        return TESTS / self.name / "README.md"

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}: written by {self.command} --update-readme -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}: end -->"

    def update(self, readme: str, table: str) -> str:
        """Return the text readme with TABLE between the markers."""
        begin, end = re.escape(self.begin), re.escape(self.end)
        pattern = re.compile(rf"(?<={begin}\n).*?(?=\n{end})", re.DOTALL)
        text, count = pattern.subn(lambda _match: table, readme)
        if count != 1:
            raise ValueError(f"{self.path} has {count} pairs of the markers {self.begin}, not one")
        return text

    def write(self, table: str) -> None:
        self.path.write_text(self.update(self.path.read_text(), table))


MATRIX = Place("matrix", "scripts/test --matrix")
FAULTS = Place("faults", "scripts/test --faults")
SANITIZE = Place("sanitize", "scripts/sanitize")
PLACES = (MATRIX, FAULTS, SANITIZE)


def heading(made_on: datetime.date, emulator: str) -> str:
    """Return what stands above a table: by what it was made."""
    return (
        f"Run on {made_on.isoformat()} with page-alloc-bench {page_alloc_bench.__version__} in "
        f"{emulator}; each row passed."
    )


def today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.timezone.utc).date()


def emulator() -> str:
    """Return the name and version of the emulator."""
    words = run(["qemu-system-x86_64", "--version"]).stdout.split()
    return f"QEMU {words[3]}"

# SPDX-License-Identifier: GPL-2.0-only
"""The page of the manual that says what an allocation costs in each release."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import page_alloc_bench

MANUAL = Path(page_alloc_bench.__file__).parent / "manual/costs.md"
PICTURE = MANUAL.with_suffix(".svg")
_COMMAND = re.compile(r"^```\n(page-alloc-bench ab [^`]*)```$", re.MULTILINE)
_BEGIN, _END = "<!-- costs: written by scripts/costs -->", "<!-- costs: end -->"


def words(page: str) -> list[str]:
    """Return the command that the page shows, as a shell takes it."""
    (command,) = _COMMAND.findall(page)
    return [str(Path(word).expanduser()) for word in shlex.split(command.replace("\\\n", " "))]


def directory(command: Sequence[str]) -> Path:
    """Return where the command keeps what it makes."""
    return Path(command[command.index("--dir") + 1])


def table(page: str) -> str:
    """Return what stands between the marks."""
    (found,) = re.findall(f"{_BEGIN}\n(.*?){_END}", page, re.DOTALL)
    return str(found)


def update(page: str, made: str) -> str:
    """Return the page with MADE between the marks, which may have nothing between them."""
    before, _, rest = page.partition(f"{_BEGIN}\n")
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{made}{_END}{after}"

# SPDX-License-Identifier: GPL-2.0-only
"""Journals: files of JSON, an object a line, which outlive who writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, so that it outlives this machine. Raises OSError."""
    with path.open("ab+") as file:
        # A line of its own, also after one that was cut off.
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        whole = file.read() in (b"", b"\n")
        file.write(f"{'' if whole else chr(10)}{json.dumps(entry)}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines, none without a file; those that were cut off are left out.

    Raises OSError.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        try:
            each = json.loads(line)
        except ValueError:
            continue
        if isinstance(each, dict):
            found.append(each)
    return found

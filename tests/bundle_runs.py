# SPDX-License-Identifier: GPL-2.0-only
"""What tests share that start a bundle: the shells to start it with, and reading what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell[0]), reason="not here"))
    for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"])
]


def report(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what the reporting runner said, and nobody else on either stream."""
    assert (finished.returncode, finished.stderr) == (0, "")
    told: dict[str, Any] = json.loads(finished.stdout)
    return told


def one_line(text: str) -> str:
    """Return text, which must be one line of ours for the user."""
    assert text.startswith("page-alloc-bench: ")
    assert text.count("\n") == 1, text
    return text


def python_only_path(directory: Path, **tools: str) -> str:
    """Return a PATH of one directory with nothing but ``tools`` (name: target)."""
    directory.mkdir()
    for name, target in tools.items():
        (directory / name).symlink_to(target)
    return str(directory)

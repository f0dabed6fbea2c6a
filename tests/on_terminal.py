# SPDX-License-Identifier: GPL-2.0-only
"""Run the command on a terminal of some width."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import termios
from collections.abc import Sequence

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(arguments: Sequence[object], columns: int, allowed: Sequence[int] = (0,)) -> str:
    """Return what a terminal shows, its lines not broken by itself, without colours."""
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-m", "page_alloc_bench.cli", *map(str, arguments)],
        stdout=follower,
        env={**environment, "TERM": "xterm", "PAGER": "cat"},
    ) as child:
        os.close(follower)
        output = b""
        with contextlib.suppress(OSError):  # EIO: the terminal has no other end any more
            while piece := os.read(leader, 4096):
                output += piece
    os.close(leader)
    assert child.returncode in allowed
    return _ESCAPE.sub("", output.decode().replace("\r\n", "\n"))

# SPDX-License-Identifier: GPL-2.0-only
"""The processes of a guest on the host, found by words of their command lines."""

from __future__ import annotations

import time

import psutil


def processes_naming(text: str) -> list[str]:
    """Return the command lines of the living processes that have TEXT in them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if text in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def await_gone(text: str, seconds: float = 10) -> list[str]:
    """Return the processes with TEXT in their command lines that are still there after SECONDS."""
    end = time.monotonic() + seconds
    while processes_naming(text) and time.monotonic() < end:
        time.sleep(0.05)
    return processes_naming(text)

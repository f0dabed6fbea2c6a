# SPDX-License-Identifier: GPL-2.0-only
"""A host where a user runs a bundle with sudo, and what a run could leave behind there."""

from __future__ import annotations

from subprocess import CompletedProcess
from typing import Any

from page_alloc_bench.targets.guest import Guest

PLACES = "/tmp /var/tmp /dev/shm /run /root /home/bench"


def traces(guest: Guest) -> dict[str, str]:
    """What a run could leave behind."""
    return {
        "module": guest.run("grep page_alloc_bench /proc/modules || true").stdout,
        "device": guest.run("ls /dev/page_alloc_bench 2>/dev/null || true").stdout,
        "files": guest.run(f"find {PLACES} -xdev | sort").stdout,
        "processes": guest.run("ps -eo comm,args | grep -E '^(pab|bench|python)' || true").stdout,
    }


def bench(host: Guest, options: str = "", **kwargs: Any) -> CompletedProcess[str]:
    """Run ./bench.run as a user with sudo does; kwargs are those of Guest.run()."""
    return host.run(f"sudo ./bench.run {options}", user="bench", check=False, **kwargs)

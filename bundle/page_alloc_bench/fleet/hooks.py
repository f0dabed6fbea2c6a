# SPDX-License-Identifier: GPL-2.0-only
"""Commands of the user that take a host out of service before its run, and put it back."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

LIMIT_S = 1800.0


def run(command: str, hosts: Sequence[str], at_once: int) -> Iterator[tuple[str, str]]:
    """Run COMMAND for each host, and yield each host with why it failed, or "", as they end.

    command: for /bin/sh, with the host's name as $1. at_once: how many.
    """
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        jobs = {pool.submit(_run, command, host): host for host in hosts}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def _run(command: str, host: str) -> str:
    with subprocess.Popen(
        ["/bin/sh", "-c", command, "sh", host], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"its {LIMIT_S:g} s were over"
    if process.returncode == 0:
        return ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return ": ".join([f"it ended with {process.returncode}", *lines[-1:]])

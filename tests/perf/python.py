# SPDX-License-Identifier: GPL-2.0-only
"""What it takes a host to start without a Python of its own.

Measured on this machine and not in a guest: unpacking is real work, of which emulation makes more
than it is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from perf.figures import Figure, at_most

ROUNDS = 9


def startup(bundle: Path, without_python: Path) -> Iterator[Figure]:
    """Alternate the two; the first round, which finds nothing in the page cache, is left out."""
    pairs = [
        (_seconds(bundle, "embedded"), _seconds(without_python, sys.executable))
        for _ in range(ROUNDS + 1)
    ]
    embedded, host = (statistics.median(column) for column in zip(*pairs[1:]))
    yield at_most("bench.run --help, embedded Python - host's, s", embedded - host, 1)


def _seconds(bundle: Path, python: str) -> float:
    began = time.monotonic()
    subprocess.run(
        [bundle, "--help"],
        env={**os.environ, "PAGE_ALLOC_BENCH_PYTHON": python},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - began

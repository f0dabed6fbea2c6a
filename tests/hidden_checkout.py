# SPDX-License-Identifier: GPL-2.0-only
"""A build by a program that cannot see the checkout: all that it needs came with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from page_alloc_bench.targets import kernels

CHECKOUT = Path(__file__).resolve().parents[1]


def builds_the_same(
    program: str, bundle: Path, place: Path, hidden: tuple[str, ...] = (), **environment: str
) -> None:
    """Assert that PROGRAM makes the bytes of BUNDLE in a new directory of PLACE, and nothing else.

    hidden: the parts of the checkout in whose place is nothing; all of it by default.
    environment: set besides what is set here.
    """
    empty = place / "empty"
    empty.mkdir()
    script = "".join(
        f"mount -t tmpfs -o size=4k tmpfs '{part}' && test -z \"$(ls -A '{part}')\" || exit 77\n"
        for part in ([CHECKOUT / name for name in hidden] or [CHECKOUT])
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c",
         f"{script}exec {program} build -q --kdir '{kernels.fetch().kdir}'"],
        cwd=empty,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in empty.iterdir()] == ["bench.run"]
    assert (empty / "bench.run").read_bytes() == bundle.read_bytes()

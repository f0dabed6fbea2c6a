# SPDX-License-Identifier: GPL-2.0-only
"""What the style checks stand on: the kernel's own checker, and a kernel tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from page_alloc_bench.targets import apt, cache, kernels

_SOURCE = "linux-source-6.1"  # any version will do: checkpatch changes little
_SCRIPTS = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")


def _unpack_scripts(temporary: Path, final: Path) -> None:
    suites = kernels.lookup(kernels.DEFAULT).suites
    private = apt.PrivateApt(temporary / "apt", suites, "amd64")
    private.update()
    private.extract([_SOURCE], temporary / "package")
    archive = next((temporary / "package/usr/src").glob("*.tar.xz"))
    members = [f"{_SOURCE}/scripts/{name}" for name in _SCRIPTS]
    subprocess.run(
        ["tar", "-xJf", archive, "--strip-components=1", "-C", temporary, *members], check=True
    )
    archive.unlink()


@pytest.fixture(scope="session")
def checkpatch() -> Path:
    key = f"checkpatch-{cache.digest(_SOURCE, *_SCRIPTS)}"
    scripts = cache.entry("scripts", key, _unpack_scripts, "the kernel's checkpatch.pl")
    return scripts / "scripts/checkpatch.pl"


@pytest.fixture(scope="session")
def kdir() -> Path:
    return kernels.fetch().kdir

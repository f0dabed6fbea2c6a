# SPDX-License-Identifier: GPL-2.0-only
"""Debian's Python of another architecture, for the packager to embed."""

from __future__ import annotations

import shutil
from pathlib import Path

from page_alloc_bench.space import Room
from page_alloc_bench.targets import apt, cache
from page_alloc_bench.targets.process import TargetError

# The oldest suite that the packager itself runs on: its Python is here for most builders, so that
# its library can be compiled.
SUITES = ("bookworm", "bookworm-security")
_ROOM = Room(300, 2_000)
_VERSION = "3.11"
# The interpreter, its library, and the libraries of both, without what only packages need of them.
_PACKAGES = (
    f"python{_VERSION}-minimal", f"libpython{_VERSION}-minimal", f"libpython{_VERSION}-stdlib",
    "libc6", "zlib1g", "libexpat1", "libffi8", "libcrypt1",
)  # fmt: skip


def fetch(machine: str) -> Path:
    """Return a directory tree with Python and its libraries for ``machine`` (uname -m's word).

    Kept in the cache. Raises TargetError when Debian has none or cannot be reached.
    """
    if machine not in apt.ARCHITECTURES:
        raise TargetError(f"no Debian architecture is known for {machine}")
    arch = apt.ARCHITECTURES[machine]

    def unpack(temporary: Path, _final: Path) -> None:
        scratch = temporary / "apt"
        private = apt.PrivateApt(scratch, SUITES, arch)
        private.update()
        private.extract(_PACKAGES, temporary / "root")
        shutil.rmtree(scratch)

    key = f"{machine}-{cache.digest(*SUITES, *_PACKAGES)}"
    return cache.entry("pythons", key, unpack, f"Debian's Python for {arch}", room=_ROOM) / "root"

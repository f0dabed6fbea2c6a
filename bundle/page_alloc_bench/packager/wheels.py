# SPDX-License-Identifier: GPL-2.0-only
"""The binary wheels that travel to a target, downloaded once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from page_alloc_bench import resources
from page_alloc_bench.packager import process
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.temporary import temporary_directory

REQUIREMENTS = Path(__file__).with_name("psutil.txt")
# The oldest Python that the runner works with, and the oldest glibc that wheels are made for.
_PYTHON = "3.9"
_PLATFORM = "manylinux2014"


def cache_dir() -> Path:
    """Return where downloaded wheels are kept."""
    return resources.cache_dir() / "wheels"


def psutil_wheel(machine: str) -> Path:
    """Return psutil's wheel for ``machine`` (as uname -m says it), from the cache if it is there.

    Its hash is checked against the pinned ones each time. Several builds may ask at once: each
    downloads to a directory of its own and moves the file into place.
    """
    cached = _cached(machine)
    if cached:
        return cached
    _download(machine)
    cached = _cached(machine)
    if not cached:
        raise PackagerError(
            f"psutil has no pinned wheel for {machine}",
            f"add its hash to {REQUIREMENTS.name}",
        )
    return cached


def _pinned() -> set[str]:
    return set(re.findall(r"--hash=sha256:([0-9a-f]{64})", REQUIREMENTS.read_text()))


def _cached(machine: str) -> Path | None:
    pinned = _pinned()
    for path in sorted(cache_dir().glob(f"psutil-*_{machine}.whl")):
        if hashlib.sha256(path.read_bytes()).hexdigest() in pinned:
            return path
    return None


def _download(machine: str) -> None:
    cache = cache_dir()
    home = resources.absent_home()
    if home:
        raise PackagerError(
            f"psutil for {machine} cannot be stored: the home directory {home} does not exist",
            "set XDG_CACHE_HOME to a directory that you may write to",
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PackagerError(
            f"the cache {cache} cannot be made: {error.strerror}", "set XDG_CACHE_HOME"
        ) from error
    with temporary_directory(cache) as downloaded:
        finished = process.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:",
                f"--platform={_PLATFORM}_{machine}", f"--python-version={_PYTHON}",
                "--implementation=cp", "--abi=abi3", f"--dest={downloaded}",
                f"--requirement={REQUIREMENTS}",
            ]
        )  # fmt: skip
        if finished.status != 0:
            raise PackagerError(
                f"psutil for {machine} could not be downloaded:\n{finished.stderr.strip()}",
                f"the first build needs a package index for pip; later ones use {cache}",
            )
        for path in downloaded.glob("*.whl"):
            path.replace(cache / path.name)

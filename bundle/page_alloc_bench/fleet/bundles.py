# SPDX-License-Identifier: GPL-2.0-only
"""Which bundle fits which kernel, by their manifests."""

from __future__ import annotations

from pathlib import Path

from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.runner.errors import RunnerError

from .outcome import FleetError


def by_kernel(place: Path) -> dict[str, Path]:
    """Return the bundle for each kernel that one has a module for.

    place: a bundle, or a directory with bundles called *.run. Keys are as `uname -r -m` prints:
    "6.1.0-18-amd64 x86_64". Raises FleetError.
    """
    files = sorted(place.glob("*.run")) if place.is_dir() else [place]
    if not files:
        raise FleetError(f"no file in {place} is called *.run: `page-alloc-bench build` makes one")
    found: dict[str, Path] = {}
    for file in files:
        try:
            modules = Archive(file).manifest()["modules"]
        except RunnerError as error:
            raise FleetError(str(error)) from error
        for module in modules:
            kernel = f"{module['release']} {module['machine']}"
            if kernel in found:
                raise FleetError(
                    f"{found[kernel]} and {file} both have a module for {kernel}: leave one out"
                )
            found[kernel] = file.resolve()
    return found

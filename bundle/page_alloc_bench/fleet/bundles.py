# SPDX-License-Identifier: GPL-2.0-only
"""Which bundle fits which kernel, by their manifests; and which can be built from on a host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from page_alloc_bench.runner.bundle_file import target_build
from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.runner.errors import RunnerError

from .outcome import FleetError

# Begins why a bundle that was given --build-on-target could not build its module.
CANNOT_BUILD = target_build.CANNOT


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


def by_machine(found: Mapping[str, Path]) -> dict[str, Path]:
    """Return for each machine, such as "x86_64", a bundle that runs there.

    It has the source of the module too, for a kernel that none has a module for. found: of
    by_kernel().
    """
    return {kernel.split()[1]: found[kernel] for kernel in sorted(found, reverse=True)}

# SPDX-License-Identifier: GPL-2.0-only
"""How the packager builds for the kernels of the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from page_alloc_bench.packager.build import TreeRequest
from page_alloc_bench.packager.place import HERE, Place
from page_alloc_bench.packager.tree import CROSS_PREFIX
from page_alloc_bench.targets import build_root
from page_alloc_bench.targets.kernels import FetchedKernel


def tree_request(
    fetched: FetchedKernel,
    asked: Mapping[str, str | None] | None = None,
    from_environment: Sequence[str] = (),
) -> TreeRequest:
    """Return what the packager is to be asked for, to build for the kernel FETCHED.

    ASKED, by the names of TreeRequest's fields, comes before what the kernel's row says;
    FROM_ENVIRONMENT are those of them that the environment has set. The build root is made in the
    cache if the row needs it; raises TargetError when that cannot be done.
    """
    row = fetched.kernel
    given = {name: value for name, value in (asked or {}).items() if value}
    settings = dict(given)
    prefix = CROSS_PREFIX.get(row.arch, "")
    if prefix:
        settings.setdefault("cross_compile", prefix)
    if "LLVM=1" in row.make:
        settings.setdefault("llvm", "1")
    elif not given.get("llvm") and (row.cc or row.build_root):
        # The trees name the compiler of their own suite.
        settings.setdefault("cc", settings.get("cross_compile", "") + (row.cc or "gcc"))
    within = _build_root(fetched.trees) if row.build_root else HERE
    said = tuple(name for name in from_environment if name in given)
    return TreeRequest(fetched.kdir, **settings, from_environment=said, within=within)


def _build_root(trees: Sequence[Path]) -> Place:
    """Return the build root as a place that sees TREES."""
    build_root.ensure()

    def command(argv: Sequence[str], written: Sequence[Path], read: Sequence[Path]) -> list[str]:
        return build_root.command(argv, writable=written, readonly=[*trees, *read])

    return Place(command, build_root.find)

# SPDX-License-Identifier: GPL-2.0-only
"""Bundles for the kernels that a user names; those for kernels of the list are built once.

bundles/NAME-IMAGE-OURS/bundle.run    in the cache: of that image, by this version of ours
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache as once
from pathlib import Path

from page_alloc_bench import outputs, resources
from page_alloc_bench.packager import build as packager
from page_alloc_bench.targets import cache, foreign_python
from page_alloc_bench.targets.bootable import Bootable
from page_alloc_bench.targets.cache import note

BUNDLE = "bundle.run"
_KIND = "bundles"


def build(kernel: Bootable, output: Path) -> None:
    """Build the bundle for KERNEL; raises UsageError, PackagerError, TargetError, OutputError."""
    if not kernel.of_list:
        _build(kernel, output)
        return
    image = hashlib.sha256(kernel.image.read_bytes()).hexdigest()[:12]
    entry = cache.entry(
        _KIND,
        f"{kernel.of_list}-{image}-{of_ours()}",
        lambda temporary, _final: _build(kernel, temporary / BUNDLE),
        f"the bundle for {kernel.release}",
    )
    with outputs.OutputFile(output, executable=True) as file:
        file.write((entry / BUNDLE).read_bytes())


def _build(kernel: Bootable, output: Path) -> None:
    request = packager.BuildRequest(
        **vars(kernel.source()),
        output=output,
        signer=kernel.signer,
        fetch_python=foreign_python.fetch,
    )
    note(f"building the module for {kernel.release}")
    packager.build(request, lambda said: note(said) if said.startswith("warning:") else None)


@once
def of_ours() -> str:
    """Return 12 hexadecimal digits that change with whatever of ours goes into a bundle."""
    whole = hashlib.sha256(platform.python_version().encode())
    ours = resources.PACKAGE
    whole.update((ours / "__init__.py").read_bytes())
    tops = (resources.kmod_dir(), resources.templates_dir(), ours / "runner", ours / "packager")
    for top in tops:
        files = (p for p in top.rglob("*") if p.is_file() and p.suffix != ".pyc")
        for path in sorted(files):
            whole.update(f"{path.relative_to(top)}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:12]

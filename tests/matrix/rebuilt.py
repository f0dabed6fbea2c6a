# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that was built, changed in what modules see of it, and built again under its release."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench.targets import build_root, cache, kernels, source_kernel
from page_alloc_bench.targets.kernels import FetchedKernel

FIRST = kernels.REBUILT
_HEADER = "include/linux/mmzone.h"
_BEFORE = "\nstruct zone {\n"
_CHANGE = f"{_BEFORE}\tunsigned long pab_added[64];\n"


def sources() -> Path:
    """Return a copy of the source of FIRST in which struct zone begins with another field."""
    first = source_kernel.source_of(FIRST)

    def make(temporary: Path, _final: Path) -> None:
        # The same files, but for the one that is changed.
        subprocess.run(["cp", "-al", first, temporary / "linux"], check=True)
        header = temporary / "linux" / _HEADER
        text = header.read_text()
        assert text.count(_BEFORE) == 1
        header.unlink()
        header.write_text(text.replace(_BEFORE, _CHANGE))

    key = f"rebuilt-{cache.digest(str(first), _CHANGE)}"
    return cache.entry("sources", key, make, "a changed copy of a kernel's source") / "linux"


def again() -> FetchedKernel:
    """Return the second build, made in the cache if need be; its O= directory began as FIRST's."""
    first, source = kernels.fetch(FIRST), sources()

    def make(temporary: Path, _final: Path) -> None:
        objects = temporary / "build"
        subprocess.run(["cp", "-a", first.kdir, objects], check=True)
        make_in(source, objects, "-j2", "bzImage", "modules")

    key = f"{FIRST.name}-again-{cache.digest(str(first.kdir), str(source))}"
    what = f"a second build of {FIRST.name} (some minutes)"
    objects = cache.entry("kernels", key, make, what) / "build"
    image = objects / first.vmlinuz.relative_to(first.kdir)
    return dataclasses.replace(first, vmlinuz=image, kdir=objects)


def make_in(source: Path, objects: Path, *words: str, seen: Sequence[Path] = ()) -> None:
    """Run make in the build root, for a source tree and its O= directory, the one it may write."""
    command = ["make", "-s", "-C", str(source), f"O={objects}", *words]
    argv = build_root.command(command, writable=[objects], readonly=[source, *seen])
    done = subprocess.run(["nice", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

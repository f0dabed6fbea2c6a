# SPDX-License-Identifier: GPL-2.0-only
"""Kernels as a user builds them, without a device made for guests, and copies with faults."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from matrix.rebuilt import make_in
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.packager.signing import Signer
from page_alloc_bench.targets import cache, kernels, source_kernel
from trees import place

_DRIVERS = ("SATA_AHCI", "ATA_PIIX", "E1000", "EXT4_FS", "BLK_DEV_SD")
# Documentation/arch/x86/boot.rst: the setup code begins here, with a jump over the header.
_ENTRY = 0x200
_FOREVER = b"\xeb\xfe"  # a jump to itself


def source() -> Path:
    """Return the source tree of all of them."""
    return source_kernel.source_of(kernels.OWN)


def tree() -> Path:
    """Return the O= directory of a kernel whose drivers are built in."""
    return kernels.fetch(kernels.OWN).kdir


def with_modules() -> Path:
    """Return the O= directory of one whose drivers are modules, which are not installed."""
    return _changed("modular", dict.fromkeys(_DRIVERS, "m"))


def signed_only() -> Path:
    """Return the O= directory of one that takes no module without its key's signature."""
    asked = dict.fromkeys(("MODULE_SIG", "MODULE_SIG_FORCE", "MODULE_SIG_SHA256"), "y")
    return _changed("signed", asked)


def _changed(name: str, options: dict[str, str]) -> Path:
    first = tree()

    def make(temporary: Path, _final: Path) -> None:
        objects = temporary / "build"
        subprocess.run(["cp", "-a", first, objects], check=True)
        script = source() / "scripts/config"
        words = [word for key, value in options.items() for word in ("--set-val", key, value)]
        subprocess.run(["bash", script, "--file", objects / ".config", *words], check=True)
        make_in(source(), objects, "olddefconfig")
        lost = source_kernel.missing_options(
            "".join(f"CONFIG_{key}={value}\n" for key, value in options.items()),
            (objects / ".config").read_text(),
        )
        assert not lost
        # In another place objtool is built again, and all that is older than it. It is the same.
        objtool = objects / "tools/objtool"
        before = (objtool / "objtool").stat()
        make_in(source(), objects, "prepare")
        for path in objtool.rglob("*"):
            if path.stat().st_mtime_ns > before.st_mtime_ns:
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        make_in(source(), objects, "-j2", "bzImage", "modules")

    key = f"{kernels.OWN.name}-{name}-{cache.digest(str(first), repr(options))}"
    return cache.entry("kernels", key, make, f"the kernel {key} (some minutes)") / "build"


def install(objects: Path, top: Path, suffix: str) -> Path:
    """Install the modules of OBJECTS below TOP, compressed as SUFFIX says; return where."""
    release = (objects / "include/config/kernel.release").read_text().strip()
    where = top / "lib/modules" / release
    for line in (objects / "modules.order").read_text().split():
        module = (objects / line).with_suffix(".ko")
        path = where / "kernel" / module.relative_to(objects)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = module.read_bytes()
        path.with_name(path.name + suffix).write_bytes(_COMPRESS[suffix](content))
    shutil.copy(objects / "modules.builtin", where)
    return where


def _zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": _zstd}


def bundle(objects: Path, output: Path, signer: Signer | None = None) -> Path:
    """Build a bundle for the kernel in OBJECTS, whose tools run in the build root only."""
    within = place(objects, source())
    build(BuildRequest(objects, output=output, within=within, signer=signer))
    return output


def that_stands_still(image: Path, copy: Path) -> Path:
    """Write a copy of IMAGE that does nothing from its first instruction on."""
    content = bytearray(image.read_bytes())
    content[_ENTRY : _ENTRY + len(_FOREVER)] = _FOREVER
    copy.write_bytes(content)
    return copy

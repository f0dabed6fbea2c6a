# SPDX-License-Identifier: GPL-2.0-only
"""What a guest needs to compile a module for its own kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

from page_alloc_bench.targets.guest import Guest

# What a compiler of Debian 12 consists of; the guest's root is the same release as this host.
_PACKAGES = (
    "gcc-12", "cpp-12", "libgcc-12-dev", "binutils", "binutils-x86-64-linux-gnu", "libbinutils",
    "libctf0", "libctf-nobfd0", "libgprofng0", "libjansson4", "libisl23", "libmpc3", "libmpfr6",
    "libgmp10", "libelf1", "make", "zlib1g", "libzstd1",
)  # fmt: skip


# A third of it, which takes a minute to copy and is not used.
_LEFT_OUT = ("/share/", "/lto", "-lto-dump")


def give(guest: Guest, scratch: Path) -> None:
    """Put this host's compiler and the headers of the guest's kernel into the guest."""
    listed = subprocess.run(["dpkg", "-L", *_PACKAGES], capture_output=True, text=True, check=True)
    files = [name for name in listed.stdout.splitlines() if Path(name).is_file()]
    files = [name for name in dict.fromkeys(files) if not any(part in name for part in _LEFT_OUT)]
    top = guest.kernel.kdir.parents[2]
    files += [str(top / part) for part in ("usr/src", "usr/lib")]
    archive = scratch / "compiler.tar"
    command = ["tar", "-cPf", str(archive), "--files-from=-"]
    subprocess.run(command, input="\n".join(files), text=True, check=True)
    guest.copy_to(archive, "/compiler.tar")
    modules = f"/lib/modules/{guest.kernel.release}"
    guest.run(f"tar -xPf /compiler.tar && rm /compiler.tar && mkdir -p {modules}")
    guest.run(["ln", "-s", str(guest.kernel.kdir), f"{modules}/build"])

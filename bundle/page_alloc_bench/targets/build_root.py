# SPDX-License-Identifier: GPL-2.0-only
"""A Debian of its own to compile in: newer compilers and a newer C library than this host has.

The build tools in the headers of newer kernels do not run on an older host, and its compiler does
not know their options. What is run here sees the build root's programs, and of this host no more
than the directories it is given, at the places they have outside. It has no network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench.space import Room
from page_alloc_bench.targets import bootstrap, cache
from page_alloc_bench.targets.process import need

_SUITES = ("trixie", "trixie-security")
_PACKAGES = (
    # modules, of this architecture and of the other
    *("gcc", "gcc-aarch64-linux-gnu", "kmod", "libc6-dev", "libelf-dev", "make"),
    *("clang", "lld", "llvm"),
    # kernels from their source
    *("bc", "bison", "flex", "libssl-dev", "openssl", "python3-minimal", "xz-utils"),
)
_PATH = "/usr/sbin:/usr/bin"


def ensure() -> Path:
    """Return the build root, made in the cache if need be; nobody may write to it."""
    return (
        cache.entry(
            "roots",
            _key(),
            lambda temporary, _final: bootstrap.install(
                bootstrap.Debian(_SUITES, _PACKAGES, variant="essential"), temporary / "tree"
            ),
            f"a build root of Debian {_SUITES[0]} (some minutes)",
            room=Room(2000, 12_000),
        )
        / "tree"
    )


def cached() -> bool:
    """Return whether ensure() would find it in the cache."""
    return cache.has("roots", _key())


def _key() -> str:
    return f"build-{cache.digest(*_SUITES, *_PACKAGES)}"


def command(
    argv: Sequence[str], *, writable: Sequence[Path], readonly: Sequence[Path] = ()
) -> list[str]:
    """Return the command line that runs ARGV in the build root.

    WRITABLE and READONLY are directories of this host (absolute, outside /usr and /etc) that it
    sees at the same places; where one is in another, the inner one's rule holds. The environment is
    passed on, but for PATH; the exit status is ARGV's; when the caller dies, so does ARGV.
    """
    tree = ensure()
    words = [need("bwrap", "bubblewrap"), "--die-with-parent", "--unshare-all"]
    words += ["--setenv", "PATH", _PATH, "--tmpfs", "/"]
    for name in ("usr", "etc"):
        words += ["--ro-bind", str(tree / name), f"/{name}"]
    for link in sorted(path for path in tree.iterdir() if path.is_symlink()):
        words += ["--symlink", str(link.readlink()), f"/{link.name}"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/var/tmp"]  # noqa: S108
    binds = [(path, "--bind") for path in writable] + [(path, "--ro-bind") for path in readonly]
    for path, option in sorted(binds):  # an outer directory before those in it
        words += [option, str(path), str(path)]
    return [*words, "--", *argv]


def find(program: str) -> str | None:
    """Return where PROGRAM is in the build root, as shutil.which() does; None if it is not."""
    tree = ensure()
    names = [program] if "/" in program else [f"{path}/{program}" for path in _PATH.split(":")]
    for name in names:
        # Links that begin with / mean the build root's own.
        if os.path.lexists(tree / name.lstrip("/")):
            return name
    return None

# SPDX-License-Identifier: GPL-2.0-only
"""Install Debian into a directory or an image: what build root and guest roots are made of.

Root does it as root, anybody else in a user namespace (namespace.py).
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.runner.bundle_file.kbuild_environment import environment
from page_alloc_bench.targets import apt, namespace
from page_alloc_bench.targets.process import CommandError, TargetError, need, run

_UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
# Nobody but root can make them, and a guest gets its own from its kernel.
_NO_DEVICES = ("--exclude=./dev/*",)
_TIMEOUT_S = 3600  # of a slow mirror; without an end a full disk can hold apt for ever


@dataclass(frozen=True)
class Debian:
    """What is installed: the suites, the first of which it is, and packages.

    ``variant`` is mmdebstrap's name of what there is without ``packages``.
    """

    suites: tuple[str, ...]
    packages: tuple[str, ...]
    arch: str = "amd64"
    variant: str = "minbase"


def install(debian: Debian, tree: Path) -> None:
    """Make the directory TREE such a Debian, without documentation.

    Files belong to their owners if this is root, and else to this user, all of them. Raises
    TargetError when it cannot be done.
    """
    if os.geteuid() == 0:
        _mmdebstrap(debian, tree, [*_own_mounts()], "root")
        return
    archive = _archive(debian, tree.parent)
    tree.mkdir()
    run(["tar", "-xf", str(archive), "-C", str(tree), *_NO_DEVICES], env=environment())
    archive.unlink()


def image(debian: Debian, path: Path, size_mib: int, hook: str) -> None:
    """Make PATH an ext4 image of SIZE_MIB (sparse) with such a Debian, files with their owners.

    HOOK are words for a shell whose "$1" is the tree of files. Raises TargetError when it cannot
    be done.
    """
    mkfs = need("mke2fs", "e2fsprogs")
    with tempfile.TemporaryDirectory(prefix="pab-root.", dir=path.parent) as scratch:
        tree = Path(scratch) / "tree"
        # An ordinary user's PATH lacks what root's has.
        steps = ["PATH=$PATH:/usr/sbin:/sbin", f"set -- {shlex.quote(str(tree))}", hook]
        if os.geteuid() == 0:
            install(debian, tree)
        else:
            archive = shlex.quote(str(_archive(debian, Path(scratch))))
            unpack = f'tar -xpf {archive} -C "$1" {shlex.join(_NO_DEVICES)}'
            # Before this user removes the rest: what is others' in the namespace is not his.
            steps[2:2] = ["""trap 'rm -rf "$1"' EXIT""", 'mkdir "$1"', unpack]
        # mke2fs copies owners and modes; no journal, because no image outlives its guest.
        argv = [mkfs, "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1"]
        steps.append(shlex.join([*argv, "-d", str(tree), str(path), f"{size_mib}M"]))
        run(namespace.command(["sh", "-ec", "\n".join(steps)]))


def _archive(debian: Debian, directory: Path) -> Path:
    """Return such a Debian as a tar archive in DIRECTORY, made by an ordinary user."""
    namespace.require()
    archive = directory / "tree.tar"
    _mmdebstrap(debian, archive, [], "unshare")
    return archive


def _mmdebstrap(debian: Debian, target: Path, before: Sequence[str], mode: str) -> None:
    argv = [*before, need("mmdebstrap", "mmdebstrap"), f"--mode={mode}", "--quiet"]
    argv += [f"--variant={debian.variant}", f"--architectures={debian.arch}"]
    argv += [f"--include={','.join(debian.packages)}"]
    # Suites that are kept for old releases have release files past their date.
    argv += ['--aptopt=Acquire::Check-Valid-Until "false"', "--aptopt=Acquire::Retries 3"]
    argv += [f"--dpkgopt=path-exclude={path}" for path in _UNWANTED]
    mirrors = apt.source_lines(debian.suites, apt.find_mirrors())
    try:
        # From a directory that everybody may enter, which the namespace's users need.
        run([*argv, debian.suites[0], str(target), *mirrors], cwd=Path("/"), timeout=_TIMEOUT_S)
    except CommandError as error:
        raise TargetError(
            f"mmdebstrap could not install Debian {debian.suites[0]}: check the network, the "
            "mirrors of this host's apt sources and the space in "
            f"{target.parent} and {tempfile.gettempdir()}\n{error}"
        ) from error


def _own_mounts() -> list[str]:
    """Return the words before a command that give it a mount namespace of its own.

    mmdebstrap mounts the host's /dev and /proc into the tree. Should it be killed, the mounts must
    not be there when the tree is removed. Where this is forbidden, so is mounting.
    """
    words = [need("unshare", "util-linux"), "--mount"]
    return words if run([*words, "true"], check=False).returncode == 0 else []

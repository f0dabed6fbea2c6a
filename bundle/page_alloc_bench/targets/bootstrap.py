# SPDX-License-Identifier: GPL-2.0-only
"""Install Debian into a directory: what guest roots and the build root are made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from page_alloc_bench.targets import apt
from page_alloc_bench.targets.process import CommandError, TargetError, need, run

_UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")


def install(
    tree: Path,
    suites: Sequence[str],
    packages: Sequence[str],
    *,
    arch: str = "amd64",
    variant: str = "minbase",
    hook: str = "",
) -> None:
    """Make TREE a Debian of SUITES, the first of which it is, with PACKAGES and no documentation.

    VARIANT is mmdebstrap's name of what there is without PACKAGES. HOOK, if any, are words for a
    shell whose "$1" is the tree when all is installed. Raises TargetError when it cannot be done.
    """
    if os.geteuid() != 0:
        raise TargetError("a Debian tree is made as root, once: run this command with sudo")
    argv = [*_own_mounts(), need("mmdebstrap", "mmdebstrap"), "--mode=root", "--quiet"]
    argv += [f"--variant={variant}", f"--architectures={arch}", f"--include={','.join(packages)}"]
    # Suites that are kept for old releases have release files past their date.
    argv += ['--aptopt=Acquire::Check-Valid-Until "false"', "--aptopt=Acquire::Retries 3"]
    argv += [f"--dpkgopt=path-exclude={path}" for path in _UNWANTED]
    argv += [f"--customize-hook={hook}"] if hook else []
    try:
        run([*argv, suites[0], str(tree), *apt.source_lines(suites, apt.find_mirrors())])
    except CommandError as error:
        raise TargetError(
            f"mmdebstrap could not install Debian {suites[0]}: check the network, the mirrors of "
            f"this host's apt sources and the space in {tree.parent}\n{error}"
        ) from error


def _own_mounts() -> list[str]:
    """Return the words before a command that give it a mount namespace of its own.

    mmdebstrap mounts the host's /dev and /proc into the tree. Should it be killed, the mounts must
    not be there when the tree is removed. Where this is forbidden, so is mounting.
    """
    words = [need("unshare", "util-linux"), "--mount"]
    return words if run([*words, "true"], check=False).returncode == 0 else []

# SPDX-License-Identifier: GPL-2.0-only
"""A kernel tree that is ready for a module to be built for it, and what a packager says of it."""

from __future__ import annotations

from pathlib import Path

GCC = 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0) 12.2.0"'
MODULES = "CONFIG_MODULES=y\nCONFIG_MODULE_UNLOAD=y\n"


def ready_tree(top: Path) -> Path:
    """Make a tree with all that the probe looks at."""
    files = {
        "Makefile": "",
        ".config": "# Linux/x86 6.1.0 Kernel Configuration\n",
        "Module.symvers": "0x1\tpanic\tvmlinux\tEXPORT_SYMBOL\t\n",
        "scripts/mod/modpost": "",
        "include/config/auto.conf": f"{MODULES}CONFIG_MODVERSIONS=y\n{GCC}\n",
        "include/config/kernel.release": "6.1.0\n",
        "include/generated/autoconf.h": "/* Linux/x86 6.1.0 Kernel Configuration */\n",
        "include/generated/utsrelease.h": '#define UTS_RELEASE "6.1.0-mine"\n',
        "include/generated/utsversion.h": '#define UTS_VERSION "#7 SMP Mon"\n',
    }
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (top / "scripts/mod/modpost").chmod(0o755)
    return top

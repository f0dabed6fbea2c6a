# SPDX-License-Identifier: GPL-2.0-only
"""Say why a kernel did not boot, from what it wrote to its console."""

from __future__ import annotations

import re

from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.qemu import Qemu

# What a console says, and what it means; the first that is found counts.
_CAUSES = (
    (
        r"No working init found|Requested init .* failed|Failed to execute /init",
        "the kernel cannot run the first program: set CONFIG_BINFMT_ELF=y and "
        "CONFIG_BINFMT_SCRIPT=y",
    ),
    (
        r"Unable to mount root fs|No filesystem could mount root",
        "the kernel did not take the initramfs: set CONFIG_BLK_DEV_INITRD=y and CONFIG_RD_GZIP=y",
    ),
    (
        r"guest: no second serial port",
        "the kernel has no second serial port: set CONFIG_SERIAL_8250_NR_UARTS and "
        "CONFIG_SERIAL_8250_RUNTIME_UARTS to 2 or more",
    ),
    (r"Kernel panic - not syncing: (.*)", "the kernel panicked"),
)


def why_no_boot(qemu: Qemu, what: str) -> TargetError:
    """Return the error that says WHAT happened, the likely cause, and the end of the console."""
    console = qemu.console()
    if not console.strip():
        return TargetError(
            f"{what}: it wrote nothing to its console. Is the image for this machine, and does "
            "the kernel have CONFIG_SERIAL_8250_CONSOLE=y (on arm64 CONFIG_SERIAL_AMBA_PL011_"
            "CONSOLE=y)? `page-alloc-bench kconfig` prints what it needs"
        )
    for pattern, cause in _CAUSES:
        if re.search(pattern, console):
            return TargetError(f"{what}: {cause}{qemu.quote_console()}")
    return TargetError(f"{what}{qemu.quote_console()}")

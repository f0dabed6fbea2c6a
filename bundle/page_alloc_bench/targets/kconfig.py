# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel must be configured with to run the benchmark in a guest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Need(NamedTuple):
    """An option of the kernel.

    arch: Debian's name of the only architecture that it is of, "" for all. least: where it is a
    number, how much is needed.
    """

    symbol: str
    why: str
    arch: str = ""
    least: int = 0

    def met(self, value: str | None) -> bool:
        """Return whether VALUE, that of a .config, is enough; None is none."""
        if self.least:
            return value is None or not value.isdigit() or int(value) >= self.least
        return value == "y"


# Without one of these there is no run.
NEEDED = (
    Need("MODULES", "the benchmark is a module"),
    Need("BLK_DEV_INITRD", "the guest has no disk, and all of it is in an initramfs"),
    Need("BINFMT_ELF", "the guest's programs are ELF"),
    Need("BINFMT_SCRIPT", "the guest's first program is a script"),
    Need("DEVTMPFS", "the guest's device nodes"),
    Need("PROC_FS", "the benchmark reads /proc"),
    Need("SYSFS", "the benchmark reads /sys"),
    Need("TMPFS", "the benchmark unpacks itself there"),
    Need("SHMEM", "tmpfs with contents"),
    Need("TTY", "the console"),
    Need("PRINTK", "the console"),
    Need("FUTEX", "Python"),
    Need("EPOLL", "Python"),
    Need("64BIT", "the guest's programs have 64 bits", "amd64"),
    Need("SERIAL_8250_CONSOLE", "what the kernel says when it does not boot", "amd64"),
    Need("SERIAL_AMBA_PL011_CONSOLE", "what the kernel says when it does not boot", "arm64"),
)
# A guest with neither disk nor network, whose second serial port brings the result.
SERIAL = (
    Need("SERIAL_8250", "the result comes over a serial port"),
    Need("SERIAL_8250_NR_UARTS", "a second serial port", "amd64", 2),
    Need("SERIAL_8250_RUNTIME_UARTS", "a second serial port", "amd64", 2),
    Need("SERIAL_8250_PCI", "the result comes over a serial port on PCI", "arm64"),
)
# A guest with a Debian root, besides a disk, a network and ext4.
SSH = (
    Need("INET", "ssh"),
    Need("UNIX", "ssh"),
    Need("MULTIUSER", "the users of the guest"),
    Need("UNIX98_PTYS", "sudo and ssh"),
)
# Without these the run is poorer.
WANTED = (
    Need("MODULE_UNLOAD", "the module goes at the end of a run"),
    Need("KALLSYMS", "counts by function need the names"),
    Need("HPET_TIMER", "its rate is exact, the TSC's is measured at boot", "amd64"),
    Need("NUMA", "remote allocations"),
    Need("TRANSPARENT_HUGEPAGE", "large mappings"),
)


def read(text: str) -> dict[str, str]:
    """Return the options of a .config by name without CONFIG_: y, m, a value, or n."""
    unset = dict.fromkeys(re.findall(r"^# CONFIG_(\w+) is not set$", text, re.MULTILINE), "n")
    return unset | dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))


def lacking(config: Mapping[str, str], arch: str, needs: tuple[Need, ...] = NEEDED) -> list[Need]:
    """Return which of NEEDS a kernel with CONFIG does not have built in."""
    return [n for n in needs if n.arch in ("", arch) and not n.met(config.get(n.symbol))]


def fragment(needs: list[Need] | tuple[Need, ...]) -> str:
    """Return NEEDS as a fragment for scripts/kconfig/merge_config.sh."""
    return "".join(f"# {n.why}\nCONFIG_{n.symbol}={n.least or 'y'}\n" for n in needs)

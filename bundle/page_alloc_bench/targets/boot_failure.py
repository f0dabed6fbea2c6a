# SPDX-License-Identifier: GPL-2.0-only
"""Notice that a kernel does not boot, and say why, from what it wrote to its console."""

from __future__ import annotations

import re
import time

from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.targets.qemu import Qemu

# Enough to see which part of the kernel had its turn last.
VERBOSE = {
    "amd64": "loglevel=7 earlyprintk=ttyS0,115200",
    "arm64": "loglevel=7 earlycon",
}
_SILENT_S = 30.0  # a kernel that is VERBOSE has said something by then
_AFTER_PANIC_S = 3.0  # for the rest of its last words, where it does not reboot

# What a console says, and what it means; the first that is found counts.
_CAUSES = (
    (
        r"No working init found|Requested init .* failed|Failed to execute /init|"
        r"/init has invalid|request_module: .*binfmt",
        "the kernel cannot run the first program: set CONFIG_BINFMT_ELF=y and "
        "CONFIG_BINFMT_SCRIPT=y, and CONFIG_64BIT=y",
    ),
    (
        r"Unable to mount root fs|No filesystem could mount root|Initramfs unpacking failed",
        "the kernel did not take the initramfs: set CONFIG_BLK_DEV_INITRD=y, and give the guest "
        "more memory (--mem)",
    ),
    (
        r"guest: no second serial port",
        "the kernel has no second serial port: set CONFIG_SERIAL_8250_NR_UARTS and "
        "CONFIG_SERIAL_8250_RUNTIME_UARTS to 2 or more",
    ),
    (
        r"[Vv]ersion magic '([^']*)' should be|disagrees about version of symbol",
        "modules are of another build than the image: run make for both, or give --modules the "
        "directory of this kernel",
    ),
    (
        r"Loading of unsigned module is rejected|[Kk]ey was rejected|Required key not available|"
        r"module verification failed: signature and/or required key",
        "the kernel refuses modules that its own key has not signed (MODULE_SIG_FORCE): run make "
        "modules_install, and give its directory with --modules",
    ),
    (
        r"guest: cannot mount the root file system",
        "the kernel cannot mount the guest's root: set CONFIG_EXT4_FS=y, or choose --reach serial",
    ),
    (
        r"(guest|appliance): no (two )?disks? ",
        "the kernel did not find its disk, though it has a driver: choose --reach serial",
    ),
    (r"Out of memory and no killable processes", "the guest has too little memory: give --mem"),
)


class TooSlowError(TargetError):
    """A kernel did not boot within the time that it was given; more time may help."""


def why_no_boot(qemu: Qemu, what: str, error: type[TargetError] = TargetError) -> TargetError:
    """Return the error that says WHAT happened, the likely cause, and the end of the console."""
    console = qemu.console()
    if not console.strip():
        return error(
            f"{what}: it wrote nothing to its console. Is the image for this machine, and does "
            "the kernel have CONFIG_SERIAL_8250_CONSOLE=y (on arm64 CONFIG_SERIAL_AMBA_PL011_"
            "CONSOLE=y)? `page-alloc-bench kconfig` prints what it needs"
        )
    # The line that says why scrolls out of a panic's last lines.
    panic = _line(r"Kernel panic - not syncing.*", console)
    if panic:
        what = f"{what}: the kernel panicked: {panic}"
    for pattern, cause in _CAUSES:
        said = _line(pattern, console)
        if said:
            quoted = "" if panic else f" ({said})"
            return error(f"{what}: {cause}{quoted}{qemu.quote_console()}")
    return error(f"{what}{qemu.quote_console()}")


def _line(pattern: str, text: str) -> str:
    """Return the first line of TEXT in which PATTERN is; "" if none."""
    found = (line for line in text.splitlines() if re.search(pattern, line))
    return next(found, "").strip()[:160]


class Boot:
    """A boot of QEMU that goes on, and has to be over after TIMEOUT seconds.

    Those seconds in which QEMU had no CPU of this host do not count. A VERBOSE kernel has to speak
    before.
    """

    def __init__(self, qemu: Qemu, timeout: float, *, verbose: bool = False) -> None:
        self._qemu = qemu
        self._timeout = timeout
        self._silent = min(timeout, _SILENT_S) if verbose else timeout
        self._started = time.monotonic()
        self._panic: float | None = None

    def check(self) -> None:
        """Raise TargetError, with the cause and the end of the console, once it has failed."""
        now = time.monotonic()
        elapsed = now - self._started
        if not self._qemu.alive():
            raise self._ended()
        if elapsed > self._silent:
            elapsed -= self._qemu.starved_s()
        console = self._qemu.console()
        if elapsed > self._silent and not console.strip():
            raise why_no_boot(self._qemu, f"the kernel did not boot within {self._silent:g} s")
        if elapsed > self._timeout:
            what = "the kernel did not get to the guest's first programs within"
            raise why_no_boot(self._qemu, f"{what} {self._timeout:g} s", TooSlowError)
        if "Kernel panic - not syncing" in console:
            self._panic = self._panic or now
            if now - self._panic > _AFTER_PANIC_S:
                raise why_no_boot(self._qemu, "the kernel did not boot")

    def _ended(self) -> TargetError:
        if self._qemu.status() in (None, 0):
            return why_no_boot(self._qemu, "the kernel ended before the guest's first programs")
        return self._qemu.why_it_ended()

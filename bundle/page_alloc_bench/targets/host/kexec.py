# SPDX-License-Identifier: GPL-2.0-only
"""Start a kernel by kexec: the present one loads it and hands over, without the firmware."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from page_alloc_bench.targets.host.facts import Facts, HostKernel
from page_alloc_bench.targets.host.method import Refusal, go_down, order, own_cmdline
from page_alloc_bench.targets.host.shell import Shell

_LOADED = "/sys/kernel/kexec_loaded"
_UNLOAD = "kexec -u 2>/dev/null"


@dataclass(frozen=True)
class Kexec:
    """facts: of the host as it was found; each kernel gets that command line."""

    facts: Facts
    name: str = "kexec"
    takes_cmdline: bool = True
    takes_any: bool = True

    def about(self) -> str:
        """Return what it will do to the host, in a line."""
        return "kexec -l with the present command line, then a clean shutdown into it"

    def refusals(self, facts: Facts, _kernels: Sequence[HostKernel]) -> list[Refusal]:
        """Return why it cannot start these kernels on that host."""
        found = []
        if not facts["kexec"]:
            found.append(Refusal("kexec is not installed there", "apt-get install kexec-tools"))
        if not facts["kexec_kernel"]:
            found.append(
                Refusal("its kernel has no kexec (CONFIG_KEXEC)", "use --boot grub or --boot efi")
            )
        if facts["kexec_disabled"] == "1":
            advice = "restart it without that setting, or use --boot grub or --boot efi"
            found.append(Refusal("kernel.kexec_load_disabled is 1 there", advice))
        return found

    def prepare(self, _shell: Shell, _kernels: Sequence[HostKernel]) -> None:
        """Do nothing: each is loaded from where it is."""

    def restart(self, shell: Shell, kernel: HostKernel, words: str) -> None:
        """Make the host restart with a kernel, and WORDS as more arguments. Raises TargetError."""
        what = f"the restart into {kernel.release} by kexec"
        down = go_down(self.facts, "kexec", "kexec -e")
        order(shell, what, self._load(kernel, words), down, _UNLOAD)

    def _load(self, kernel: HostKernel, words: str) -> str:
        arguments = [kernel.image, f"--command-line={own_cmdline(self.facts, words)}"]
        if kernel.initrd:
            arguments.append(f"--initrd={kernel.initrd}")
        given = shlex.join(arguments)
        # Of the two system calls a kernel may have one only.
        load = f"kexec -l {given} || kexec -s -l {given} || exit 1"
        return f'{_UNLOAD}\n{load}\n[ "$(cat {_LOADED})" = 1 ] || exit 1'

    def marks(self, _kernel: HostKernel) -> Sequence[str]:
        """Return nothing."""
        return ()

    def entered(self, _kernel: HostKernel, words: str, cmdline: str) -> bool:
        """Return whether it has all that this gives a kernel, and not what a boot loader does."""
        given = own_cmdline(self.facts, words)
        return cmdline.strip() == given and given != self.facts["cmdline"]

    def took(self, _shell: Shell) -> bool | None:
        """Return that it was: had it not been loaded, there had been no restart."""
        return True

    def disarm(self) -> str:
        """Return a script that unloads what is loaded: many a `reboot` would start it."""
        return f"{_UNLOAD}; true"

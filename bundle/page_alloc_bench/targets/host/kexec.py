# SPDX-License-Identifier: GPL-2.0-only
"""Start a kernel by kexec: the present one loads it and hands over, without the firmware."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.method import ARM_S, Refusal, go_down, own_cmdline
from page_alloc_bench.targets.host.shell import Shell, UnreachableError, checked

_LOADED = "/sys/kernel/kexec_loaded"
_UNLOAD = "kexec -u 2>/dev/null"


@dataclass(frozen=True)
class Kexec:
    """facts: of the host as it was found; each kernel gets that command line."""

    facts: Facts
    name: str = "kexec"
    takes_cmdline: bool = True

    def about(self) -> str:
        """Return what it will do to the host, in a line."""
        return "kexec -l with the present command line, then a clean shutdown into it"

    def refusals(self, facts: Facts, _kernels: Sequence[HostKernel]) -> list[Refusal]:
        """Return why it cannot start these kernels on that host."""
        found = []
        if not facts["kexec"]:
            found.append(Refusal("kexec is not installed there", "apt-get install kexec-tools"))
        if not facts["kexec_kernel"]:
            found.append(Refusal("its kernel has no kexec (CONFIG_KEXEC)", "use --boot hook"))
        if facts["kexec_disabled"] == "1":
            advice = "restart it without that setting, or use --boot hook"
            found.append(Refusal("kernel.kexec_load_disabled is 1 there", advice))
        return found

    def restart(self, shell: Shell, kernel: HostKernel, words: str) -> None:
        """Make the host restart with a kernel, and WORDS as more arguments. Raises TargetError."""
        # In one: nothing stays loaded that a later restart would start, whatever happens here.
        script = f"{self._load(kernel, words)}\n{go_down(self.facts, 'kexec', 'kexec -e')}"
        script = f"{PATH}({script}\n)\ncode=$?; [ $code = 0 ] || {_UNLOAD}; exit $code"
        with suppress(UnreachableError):  # it may be gone before it can answer
            checked(shell, script, f"the restart into {kernel.release} by kexec", timeout=ARM_S)

    def _load(self, kernel: HostKernel, words: str) -> str:
        arguments = [kernel.image, f"--command-line={own_cmdline(self.facts, words)}"]
        if kernel.initrd:
            arguments.append(f"--initrd={kernel.initrd}")
        given = shlex.join(arguments)
        # Of the two system calls a kernel may have one only.
        load = f"kexec -l {given} || kexec -s -l {given} || exit 1"
        return f'{_UNLOAD}\n{load}\n[ "$(cat {_LOADED})" = 1 ] || exit 1'

    def took(self, _shell: Shell) -> bool | None:
        """Return that it was: had it not been loaded, there had been no restart."""
        return True

    def disarm(self) -> str:
        """Return a script that unloads what is loaded: many a `reboot` would start it."""
        return f"{_UNLOAD}; true"

# SPDX-License-Identifier: GPL-2.0-only
"""What a way of starting a kernel once is asked for; the ways are in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.shell import Shell, UnreachableError, checked

ARM_S = 600.0  # until a kernel is loaded, or copied
# Documentation/admin-guide/sysrq.rst: all is written, no file system can be written to any more,
# and the machine restarts. Where there is no program for it.
_BARE = "for key in s u b; do echo $key >/proc/sysrq-trigger; sleep 2; done"


@dataclass(frozen=True)
class Refusal:
    """Why a host is not restarted. name: for --accept, where it can be accepted; "" otherwise."""

    found: str
    advice: str
    name: str = ""


class Method(Protocol):
    """A way of starting a kernel once; the restart after it is into the default again."""

    @property
    def name(self) -> str:
        """Return what --boot calls it."""

    @property
    def takes_cmdline(self) -> bool:
        """Return whether it can give a kernel more arguments."""

    @property
    def takes_any(self) -> bool:
        """Return whether it can start a kernel that the host's boot loader does not know."""

    def about(self) -> str:
        """Return what it will do to the host, in a line."""

    def refusals(self, facts: Facts, kernels: Sequence[HostKernel]) -> list[Refusal]:
        """Return why it cannot start these kernels on that host."""

    def prepare(self, shell: Shell, kernels: Sequence[HostKernel]) -> None:
        """Put in place what starts these kernels. Raises UsageError and TargetError."""

    def restart(self, shell: Shell, kernel: HostKernel, words: str) -> None:
        """Make the host restart with a kernel, and WORDS as more arguments. Raises TargetError."""

    def marks(self, kernel: HostKernel) -> Sequence[str]:
        """Return the words of its command line that a kernel has only where this started it."""

    def entered(self, kernel: HostKernel, words: str, cmdline: str) -> bool:
        """Return whether a command line can only be of what this started for a kernel.

        words: more arguments that it was given. False where nobody can tell.
        """

    def took(self, shell: Shell) -> bool | None:
        """Return whether the kernel was started at the last restart; None where nobody knows.

        What is left of the order is taken back. Raises TargetError where that fails.
        """

    def disarm(self) -> str:
        """Return a script that takes back what would start a kernel at the next restart."""


def order(shell: Shell, what: str, arm: str, down: str, disarm: str) -> None:
    """Have a host armed for a kernel, and go down. Raises TargetError that says WHAT failed.

    In one script: whatever happens here, nothing stays armed that a later restart would start.
    """
    script = f"{PATH}({arm}\n{down}\n)\ncode=$?; [ $code = 0 ] || {{ {disarm}; }}; exit $code"
    with suppress(UnreachableError):  # it may be gone before it can answer
        checked(shell, script, what, timeout=ARM_S)


def go_down(facts: Facts, verb: str, otherwise: str = f"reboot || reboot -f || {_BARE}") -> str:
    """Return a script that has the host go down: by a verb of systemctl, or else as said.

    The host may be gone before it can answer.
    """
    if facts["systemd"]:
        return f"systemctl {verb}"
    return f"sync; (sleep 1; {otherwise}) </dev/null >/dev/null 2>&1 &"


def plain_restart(facts: Facts) -> str:
    """Return a script that restarts the host as it does by itself."""
    return go_down(facts, "reboot")


def own_cmdline(facts: Facts, words: str) -> str:
    """Return the command line of the host as it was found, and WORDS."""
    own = facts["cmdline"].split(" ")
    kept = [word for word in own if not word.startswith(("BOOT_IMAGE=", "initrd="))]
    return " ".join([*kept, words]).strip()

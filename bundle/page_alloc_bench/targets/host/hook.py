# SPDX-License-Identifier: GPL-2.0-only
"""Start a kernel by a command of the user's, which runs here."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from page_alloc_bench.targets.host.facts import Facts, HostKernel
from page_alloc_bench.targets.host.method import Refusal
from page_alloc_bench.targets.host.shell import Shell
from page_alloc_bench.targets.process import TargetError, command_words, tail

LIMIT_S = 600.0


def call(command: str, *arguments: str, option: str) -> None:
    """Run a hook of the user's with ARGUMENTS after its own. Raises TargetError where it fails."""
    words = [*command_words(command, option=option), *arguments]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"{option}: {shlex.join(words)}: {error}") from error
    if done.returncode:
        said = tail(done.stdout + done.stderr, 5)
        raise TargetError(f"{option}: {shlex.join(words)} ended with {done.returncode}\n{said}")


@dataclass(frozen=True)
class Hook:
    """command: gets the name of the host and a release, and makes the host restart with that."""

    command: str
    name: str = "hook"
    takes_cmdline: bool = False
    takes_any: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for what is not a command."""
        command_words(self.command, option="--boot-hook")

    def about(self) -> str:
        """Return what it will do to the host, in a line."""
        return f"whatever this does: {self.command} HOST RELEASE"

    def refusals(self, _facts: Facts, _kernels: Sequence[HostKernel]) -> list[Refusal]:
        """Return nothing: only the user knows."""
        return []

    def prepare(self, _shell: Shell, _kernels: Sequence[HostKernel]) -> None:
        """Do nothing: that is the user's."""

    def restart(self, shell: Shell, kernel: HostKernel, words: str) -> None:
        """Make the host restart with a kernel. Raises TargetError."""
        assert not words
        call(self.command, shell.host, kernel.release, option="--boot-hook")

    def marks(self, _kernel: HostKernel) -> Sequence[str]:
        """Return nothing: only the user knows."""
        return ()

    def entered(self, _kernel: HostKernel, _words: str, _cmdline: str) -> bool:
        """Return that nobody can tell."""
        return False

    def took(self, _shell: Shell) -> bool | None:
        """Return that nobody knows."""
        return None

    def disarm(self) -> str:
        """Return nothing to do: only the user knows."""
        return "true"

# SPDX-License-Identifier: GPL-2.0-only
"""The ways of starting a kernel once, by their names."""

from __future__ import annotations

from page_alloc_bench.targets.host.efi import Efi
from page_alloc_bench.targets.host.facts import Facts
from page_alloc_bench.targets.host.grub import Grub, menu_of
from page_alloc_bench.targets.host.hook import Hook
from page_alloc_bench.targets.host.kexec import Kexec
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.host.shell import Shell
from page_alloc_bench.targets.process import UsageError

METHODS = ("kexec", "grub", "efi", "hook")


def check(name: str, hook: str | None) -> None:
    """Raise UsageError for a HOOK that is not a command, or not for the way called NAME."""
    if (name == "hook") != (hook is not None):
        raise UsageError("--boot hook and --boot-hook COMMAND need each other")
    if hook is not None:
        Hook(hook)


def method(name: str, shell: Shell, facts: Facts, hook: str | None) -> Method:
    """Return the way called NAME, for a host. Raises UsageError and TargetError."""
    check(name, hook)
    if hook is not None:
        return Hook(hook)
    if name == "grub":
        return Grub(facts, menu_of(shell, facts))
    return Efi(facts) if name == "efi" else Kexec(facts)

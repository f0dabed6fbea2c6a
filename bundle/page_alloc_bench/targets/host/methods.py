# SPDX-License-Identifier: GPL-2.0-only
"""The ways of starting a kernel once, by their names."""

from __future__ import annotations

from page_alloc_bench.targets.host.facts import Facts
from page_alloc_bench.targets.host.hook import Hook
from page_alloc_bench.targets.host.kexec import Kexec
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.process import UsageError

METHODS = ("kexec", "hook")


def method(name: str, facts: Facts, hook: str | None) -> Method:
    """Return the way called NAME, for a host. Raises UsageError."""
    if (name == "hook") != (hook is not None):
        raise UsageError("--boot hook and --boot-hook COMMAND need each other")
    if hook is not None:
        return Hook(hook)
    return Kexec(facts)

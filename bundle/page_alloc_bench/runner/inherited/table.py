# SPDX-License-Identifier: GPL-2.0-only
"""What a process inherits from the one that starts it, where that can change a figure.

HOW says how each is read and set back; result/inherited.py, what is usual. A run sets back what it
can (settle()), so that its figures are the machine's and not the starter's; what stays is in the
result and is warned of (preflight/inheritance.py).

Left out, for they change nothing that is measured: the umask, ignored signals other than SIGCHLD
and the directory, which are the user's decisions; the signal mask, which launch.py clears; the
coredump filter, for the child dumps no core; descriptors, which the child closes; the terminal and
the keyrings. What exec resets (dumpable) is not inherited.
"""

from __future__ import annotations

from collections.abc import Callable

from page_alloc_bench.runner.result.inherited import TRAITS, Trait, Value

from . import execution, memory, rights, surroundings

Read = Callable[[], Value]
Reset = Callable[[], object]

# Of each trait: what returns it as text or number, None where the kernel does not tell it
# (it may raise OSError); and what sets it back for this process and its children; None: nothing.
HOW: dict[str, tuple[Read, Reset | None]] = {
    "memory_policy": (memory.policy, memory.reset_policy),
    "scheduling": (execution.scheduling, execution.reset_scheduling),
    "nice": (execution.nice, execution.reset_nice),
    "autogroup_nice": (execution.autogroup_nice, None),
    "utilization_clamp": (execution.utilization_clamp, None),
    "core_scheduling": (execution.core_cookie, None),
    "io_priority": (execution.io_priority, execution.reset_io_priority),
    "timer_slack_ns": (execution.timer_slack_ns, execution.reset_timer_slack),
    "io_flusher": (memory.io_flusher, memory.reset_io_flusher),
    "thp_disabled": (memory.thp_disabled, memory.reset_thp_disabled),
    "memory_merge": (memory.merge, memory.reset_merge),
    "resource_limits": (rights.limits, rights.reset_limits),
    "missing_capabilities": (rights.missing_capabilities, None),
    "seccomp": (rights.seccomp, None),
    "personality": (execution.personality, execution.reset_personality),
    "cpu_quota": (surroundings.cpu_quota, None),
    "swap_limit": (surroundings.swap_limit, None),
    "namespaces": (surroundings.namespaces, None),
    "environment": (surroundings.environment, None),
}


def look() -> dict[str, Value]:
    """Return every trait of this process by its name; None where it cannot be known."""
    return {trait.name: value_of(trait) for trait in TRAITS}


def value_of(trait: Trait) -> Value:
    """Return what a trait of this process is now; None if it cannot be known."""
    read, _ = HOW[trait.name]
    try:
        return read()
    except OSError:
        return None


def reset() -> None:
    """Set every trait back that can be; what cannot stays, for look() to tell."""
    for trait in TRAITS:
        _, set_back = HOW[trait.name]
        if set_back is not None and not trait.is_usual(value_of(trait)):
            _try(set_back)


def is_usual() -> bool:
    """Return whether this process has from its starter what most have."""
    return all(trait.is_usual(value_of(trait)) for trait in TRAITS)


def settle() -> dict[str, Value]:
    """Set back what can be; return what this process had from its starter and has no more."""
    found = look()
    reset()
    left = look()
    return {name: value for name, value in found.items() if value != left[name]}


def _try(change: Callable[[], object]) -> None:
    try:
        change()
    except (OSError, ValueError):  # resource.setrlimit() raises ValueError for EPERM
        return

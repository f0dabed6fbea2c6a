# SPDX-License-Identifier: GPL-2.0-only
"""What a process inherits from whoever starts it, where that can change a figure.

TRAITS is all of it: what each is by default, and how it is set back. A run sets back what it can
(settle()), so that its figures are the machine's and not the starter's; what stays is in the result
and is warned of (preflight/inheritance.py).

Left out, for they change nothing that is measured: the umask, ignored signals other than SIGCHLD
and the directory, which are the user's decisions; the signal mask, which launch.py clears; the
coredump filter, for the child dumps no core; descriptors, which the child closes; the terminal and
the keyrings. What exec resets (dumpable) is not inherited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from . import execution, memory, rights, surroundings
from .calls import Value

Weight = Literal["invalidating", "other"]
INVALIDATING: Weight = "invalidating"
OTHER: Weight = "other"


@dataclass(frozen=True)
class Trait:
    """One thing that is inherited.

    name: in run.inherited. read: returns it as text or number, None where the kernel does not have
    or tell it; may raise OSError. usual: what it may be without a word. reset: sets it back for
    this process and what it forks; None: nothing can. weight: what kind of fact it is where runs
    are compared. meaning: what it does to the figures if it stays. advice: what to do about it.
    """

    name: str
    read: Callable[[], Value]
    usual: tuple[Value, ...]
    reset: Callable[[], object] | None
    weight: Weight
    meaning: str
    advice: str

    def value(self) -> Value:
        """Return what it is now; None if it cannot be known."""
        try:
            return self.read()
        except OSError:
            return None

    def is_usual(self, value: Value) -> bool:
        """Return whether there is nothing to say about a value."""
        return value is None or value in self.usual


TRAITS: tuple[Trait, ...] = (
    Trait(
        "memory_policy",
        memory.policy,
        ("default",),
        memory.reset_policy,
        INVALIDATING,
        "the child gets memory of some nodes only, or in another order",
        "start it without numactl, and without NUMAPolicy= in its unit",
    ),
    Trait(
        "scheduling",
        execution.scheduling,
        ("other",),
        execution.reset_scheduling,
        INVALIDATING,
        "real-time tasks are let below the min watermark, and idle ones wait for all others",
        "start it without chrt, and without CPUSchedulingPolicy= in its unit",
    ),
    Trait(
        "nice",
        execution.nice,
        (0,),
        execution.reset_nice,
        INVALIDATING,
        "its threads get another part of the CPUs than usual",
        "start it without nice",
    ),
    Trait(
        "autogroup_nice",
        execution.autogroup_nice,
        (0,),
        None,
        OTHER,
        "all of this session gets another part of the CPUs than usual",
        "echo 0 > /proc/self/autogroup",
    ),
    Trait(
        "utilization_clamp",
        execution.utilization_clamp,
        ("0-1024",),
        None,
        OTHER,
        "the frequency governor treats its threads differently from others",
        "start it without uclampset",
    ),
    Trait(
        "core_scheduling",
        execution.core_cookie,
        (0,),
        None,
        OTHER,
        "its threads share a core with nobody but those of the same group",
        "start it without core scheduling (coresched)",
    ),
    Trait(
        "io_priority",
        execution.io_priority,
        ("none", "best-effort:4"),
        execution.reset_io_priority,
        OTHER,
        "what is read from or swapped to disks waits for others",
        "start it without ionice",
    ),
    Trait(
        "timer_slack_ns",
        execution.timer_slack_ns,
        (50_000, 0),
        execution.reset_timer_slack,
        OTHER,
        "this process wakes later than it asks for",
        "start it without TimerSlackNSec= in its unit",
    ),
    Trait(
        "io_flusher",
        memory.io_flusher,
        (0,),
        memory.reset_io_flusher,
        INVALIDATING,
        "no request for memory starts the OOM killer: the child waits for ever",
        "start it from a process that is not an IO flusher (prctl PR_SET_IO_FLUSHER)",
    ),
    Trait(
        "thp_disabled",
        memory.thp_disabled,
        (0,),
        memory.reset_thp_disabled,
        INVALIDATING,
        "the child gets no huge pages, whatever the host is set to",
        "start it from a process that may have huge pages (prctl PR_SET_THP_DISABLE)",
    ),
    Trait(
        "memory_merge",
        memory.merge,
        (0,),
        memory.reset_merge,
        INVALIDATING,
        "KSM may merge the child's pages, which are alike: more is counted than there is",
        "start it without MemoryKSM= in its unit",
    ),
    Trait(
        "resource_limits",
        rights.limits,
        ("",),
        rights.reset_limits,
        INVALIDATING,
        "the limit is reached before memory ends, or ends the run",
        "lift it where it is set: ulimit, limits.conf, Limit…= in its unit",
    ),
    Trait(
        "missing_capabilities",
        rights.missing_capabilities,
        ("",),
        None,
        INVALIDATING,
        "what they allow cannot be done, or set back",
        "start it as root with all capabilities: no CapabilityBoundingSet=, securebits or setpriv",
    ),
    Trait(
        "seccomp",
        rights.seccomp,
        ("off",),
        None,
        OTHER,
        "a filter looks at each system call, which takes time, and may refuse some",
        "start it without SystemCallFilter= in its unit, outside of any container",
    ),
    Trait(
        "personality",
        execution.personality,
        ("0x0",),
        execution.reset_personality,
        OTHER,
        "addresses are laid out differently, or the kernel states another release or machine",
        "start it without setarch",
    ),
    Trait(
        "child_subreaper",
        execution.child_subreaper,
        (0,),
        execution.reset_child_subreaper,
        OTHER,
        "processes that others left become its children",
        "start it from a process that is not a subreaper (prctl PR_SET_CHILD_SUBREAPER)",
    ),
    Trait(
        "cpu_quota",
        surroundings.cpu_quota,
        ("",),
        None,
        INVALIDATING,
        "a cgroup stops this process when it has used its part of the time: durations are its",
        "start it outside of that cgroup, or without CPUQuota= in its unit",
    ),
    Trait(
        "swap_limit",
        surroundings.swap_limit,
        ("",),
        None,
        INVALIDATING,
        "a cgroup bounds how much of the child can be swapped out",
        "start it outside of that cgroup, or without MemorySwapMax= in its unit",
    ),
    Trait(
        "namespaces",
        surroundings.namespaces,
        ("",),
        None,
        OTHER,
        "what is seen from in here is not all of the host: another run may go unseen, for one",
        "start it from a login on the host: no unshare, ip netns exec or PrivateNetwork=",
    ),
    Trait(
        "environment",
        surroundings.environment,
        ("",),
        None,
        OTHER,
        "this process gets its own memory in another way than usual",
        "start it without them: env -u NAME",
    ),
)


def look() -> dict[str, Value]:
    """Return every trait of this process by its name; None where it cannot be known."""
    return {trait.name: trait.value() for trait in TRAITS}


def reset() -> None:
    """Set every trait back that can be; what cannot stays, for look() to tell."""
    for trait in TRAITS:
        if trait.reset is not None and not trait.is_usual(trait.value()):
            _try(trait.reset)


def is_usual() -> bool:
    """Return whether this process has from its starter what most have."""
    return all(trait.is_usual(trait.value()) for trait in TRAITS)


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

# SPDX-License-Identifier: GPL-2.0-only
"""What of the facts under run.inherited.in_force is usual, and what the rest does to the figures.

How each is read and set back is in the room inherited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Union

Value = Optional[Union[int, str]]
Weight = Literal["invalidating", "other"]
INVALIDATING: Weight = "invalidating"
OTHER: Weight = "other"


@dataclass(frozen=True)
class Trait:
    """One thing that a process inherits from the one that starts it.

    name: in run.inherited. usual: what it may be without a word. weight: what kind of fact it is
    where runs are compared. meaning: what it does to the figures if it stays. advice: what to do
    about it.
    """

    name: str
    usual: tuple[Value, ...]
    weight: Weight
    meaning: str
    advice: str

    def is_usual(self, value: Value) -> bool:
        """Return whether there is nothing to say about a value."""
        return value is None or value in self.usual


TRAITS: tuple[Trait, ...] = (
    Trait(
        "memory_policy",
        ("default",),
        INVALIDATING,
        "the child gets memory of some nodes only, or in another order",
        "start it without numactl, and without NUMAPolicy= in its unit",
    ),
    Trait(
        "scheduling",
        ("other",),
        INVALIDATING,
        "real-time tasks are let below the min watermark, and idle ones wait for all others",
        "start it without chrt, and without CPUSchedulingPolicy= in its unit",
    ),
    Trait(
        "nice",
        (0,),
        INVALIDATING,
        "its threads get another part of the CPUs than usual",
        "start it without nice",
    ),
    Trait(
        "autogroup_nice",
        (0,),
        OTHER,
        "all of this session gets another part of the CPUs than usual",
        "echo 0 > /proc/self/autogroup",
    ),
    Trait(
        "utilization_clamp",
        ("0-1024",),
        OTHER,
        "the frequency governor treats its threads differently from others",
        "start it without uclampset",
    ),
    Trait(
        "core_scheduling",
        (0,),
        OTHER,
        "its threads share a core with nobody but those of the same group",
        "start it without core scheduling (coresched)",
    ),
    Trait(
        "io_priority",
        ("none", "best-effort:4"),
        OTHER,
        "what is read from or swapped to disks waits for others",
        "start it without ionice",
    ),
    Trait(
        "timer_slack_ns",
        (50_000, 0),
        OTHER,
        "this process wakes later than it asks for",
        "start it without TimerSlackNSec= in its unit",
    ),
    Trait(
        "io_flusher",
        (0,),
        INVALIDATING,
        "no request for memory starts the OOM killer: the child waits for ever",
        "start it from a process that is not an IO flusher (prctl PR_SET_IO_FLUSHER)",
    ),
    Trait(
        "thp_disabled",
        (0,),
        INVALIDATING,
        "the child gets no huge pages, whatever the host is set to",
        "start it from a process that may have huge pages (prctl PR_SET_THP_DISABLE)",
    ),
    Trait(
        "memory_merge",
        (0,),
        INVALIDATING,
        "KSM may merge the child's pages, which are alike: more is counted than there is",
        "start it without MemoryKSM= in its unit",
    ),
    Trait(
        "resource_limits",
        ("",),
        INVALIDATING,
        "the limit is reached before memory ends, or ends the run",
        "lift it where it is set: ulimit, limits.conf, Limit…= in its unit",
    ),
    Trait(
        "missing_capabilities",
        ("",),
        INVALIDATING,
        "what they allow cannot be done, or set back",
        "start it as root with all capabilities: no CapabilityBoundingSet=, securebits or setpriv",
    ),
    Trait(
        "seccomp",
        ("off",),
        OTHER,
        "a filter looks at each system call, which takes time, and may refuse some",
        "start it without SystemCallFilter= in its unit, outside of any container",
    ),
    Trait(
        "personality",
        ("0x0",),
        OTHER,
        "addresses are laid out differently, or the kernel states another release or machine",
        "start it without setarch",
    ),
    Trait(
        "cpu_quota",
        ("",),
        INVALIDATING,
        "a cgroup stops this process when it has used its part of the time: durations are its",
        "start the run outside of that cgroup, or without CPUQuota= in its unit",
    ),
    Trait(
        "swap_limit",
        ("",),
        INVALIDATING,
        "a cgroup bounds how much of the child can be swapped out",
        "start the run outside of that cgroup, or without MemorySwapMax= in its unit",
    ),
    Trait(
        "namespaces",
        ("",),
        OTHER,
        "what is seen from in here is not all of the host: another run may go unseen, for one",
        "start it from a login on the host: no unshare, ip netns exec or PrivateNetwork=",
    ),
    Trait(
        "environment",
        ("",),
        OTHER,
        "this process gets its own memory in another way than usual",
        "start it without them: env -u NAME",
    ),
)

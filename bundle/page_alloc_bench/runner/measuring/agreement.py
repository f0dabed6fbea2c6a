# SPDX-License-Identifier: GPL-2.0-only
"""Hold our figures against the kernel's own counters.

Two true counts of the same thing may differ, since something is in flight between them. ALLOWED
names for each check what that may be, how much of it there may be, and why; nothing else is let
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from page_alloc_bench.runner.kernel import memory, procfs

BACK_SHARE = 0.98  # of a child's memory: when so much is free again, its release is over


@dataclass(frozen=True)
class Scene:
    """What an allowance depends on.

    cpus, nodes, threads: of the machine, and of findlimit's child. page_bytes, huge_bytes,
    piece_bytes: a page, a transparent huge page, what a thread populates at once. memory_bytes: of
    the machine. counted_bytes: our figure. last_child_bytes: what the last child had.
    swapped_bytes: what is in swap. swap_traffic_bytes: what has gone to swap and come from it.
    compacted_bytes: what direct compaction may have handed over.
    """

    cpus: int = 1
    nodes: int = 1
    threads: int = 1
    page_bytes: int = 4096
    huge_bytes: int = 0
    piece_bytes: int = 0
    memory_bytes: int = 0
    counted_bytes: int = 0
    last_child_bytes: int = 0
    swapped_bytes: int = 0
    swap_traffic_bytes: int = 0
    compacted_bytes: int = 0


@dataclass(frozen=True)
class Allowance:
    """Something that may be in flight. size: how much of it, in bytes."""

    name: str
    why: str
    size: Callable[[Scene], float]


@dataclass(frozen=True)
class Allowed:
    """What the kernel may count less, and more, than we do."""

    less: tuple[Allowance, ...] = ()
    more: tuple[Allowance, ...] = ()


_OTHERS = Allowance(
    "others",
    "the rest of the host allocates and frees too, in proportion to the time that the run takes",
    lambda scene: 0.02 * scene.counted_bytes + 65536 * scene.page_bytes,
)
_SWAPPING = Allowance(
    "swapping",
    "what comes back from swap is allocated again, and zram and zswap allocate what they keep",
    lambda scene: scene.swap_traffic_bytes,
)
_CAPTURED = Allowance(
    "captured blocks",
    "a block that direct compaction keeps for who asked for it is freed, and not allocated, in the "
    "counters (mm/page_alloc.c, __alloc_pages_direct_compact(); 5e1f0f098b46)",
    lambda scene: scene.compacted_bytes,
)
_RELEASE = Allowance(
    "release",
    "the last child is dead, and the wait for its memory ends at BACK_SHARE of it",
    lambda scene: (1 - BACK_SHARE) * scene.last_child_bytes,
)
_UNCOUNTED_FREES = Allowance(
    "uncounted frees",
    "before 6.10 a page that is freed while its CPU's list is locked goes to the zone uncounted "
    "(mm/page_alloc.c, free_unref_page(); 55612e80e722 counts it), which on PREEMPT_RT is common",
    lambda scene: 0.01 * scene.counted_bytes,
)
_PIECES = Allowance(
    "pieces",
    "a thread may die with a piece, or a huge page, that it has and has not counted",
    lambda scene: scene.threads * max(scene.piece_bytes, scene.huge_bytes),
)
_RSS_BATCHES = Allowance(
    "batches of the resident set",
    "each CPU keeps back what it counts: 64 pages a thread before 6.2 (TASK_RSS_EVENTS_THRESH), "
    "then percpu_counter_batch = max(32, 2 * CPUs) (f1a7941243c1, \"mm: convert mm's rss stats "
    'into percpu_counter")',
    lambda scene: scene.cpus * max(64, 2 * scene.cpus) * scene.page_bytes,
)
_PROGRAM = Allowance(
    "the program",
    "the child is a Python: its own pages come and go by a few MiB while memory is short",
    lambda _scene: 4 << 20,
)
_HUGE_IN_FAULT = Allowance(
    "huge pages in their faults",
    "a huge page is nobody's in the kernel's counters while it is being zeroed: one a thread",
    lambda scene: scene.threads * scene.huge_bytes,
)
_ZONE_BATCHES = Allowance(
    "batches of the nodes' counters",
    "each CPU keeps back up to 125 pages of each node's counters (mm/vmstat.c, "
    "calculate_normal_threshold()), and up to 31 on their way to a list (PAGEVEC_SIZE)",
    lambda scene: scene.cpus * (125 * scene.nodes + 31) * scene.page_bytes,
)
_SWAP_IN_MEMORY = Allowance(
    "swap in memory",
    "zram and zswap keep what is swapped out in pages that the report of an OOM kill leaves out",
    lambda scene: scene.swapped_bytes,
)
_CACHES = Allowance(
    "caches",
    "filling the memory makes the kernel give up caches, which MemAvailable counts in part only",
    lambda scene: 0.05 * scene.memory_bytes,
)
_NOISE = Allowance(
    "the kernel",
    "per-CPU data, vmalloc and drivers take a little as they go",
    lambda scene: 0.01 * scene.memory_bytes,
)

ALLOWED = {
    # vm_event OOM_KILL is counted before the signal is sent (mm/oom_kill.c, __oom_kill_process()).
    "oom kills": Allowed(),
    # Pages are counted as they are allocated, ours once they are there.
    "pages allocated": Allowed(less=(_CAPTURED,), more=(_OTHERS, _SWAPPING)),
    "pages freed": Allowed(less=(_RELEASE, _UNCOUNTED_FREES), more=(_OTHERS, _SWAPPING)),
    "resident set": Allowed(
        less=(_PIECES, _RSS_BATCHES, _PROGRAM), more=(_PIECES, _RSS_BATCHES, _PROGRAM)
    ),
    # MemAvailable and the CPUs' lists, before a child of findlimit and before an earlier one.
    "available memory": Allowed(less=(_CACHES,), more=(_CACHES,)),
    "unnamed memory": Allowed(more=(_HUGE_IN_FAULT, _ZONE_BATCHES, _SWAP_IN_MEMORY, _NOISE)),
}


_NOTHING = Scene()


def scene(threads: int) -> Scene:
    """Return what allowances depend on, on this machine. threads: of findlimit's child."""
    return Scene(
        cpus=len(procfs.online_cpus()),
        nodes=len(procfs.nodes()),
        threads=threads,
        page_bytes=procfs.page_size(),
        huge_bytes=memory.huge_page_bytes(),
    )


def slack_bytes(allowances: Sequence[Allowance], scene: Scene) -> int:
    """Return how much may be in flight of all of them together."""
    return int(sum(allowance.size(scene) for allowance in allowances))


def agree(check: str, ours: int, kernel: int, scene: Scene = _NOTHING) -> bool:
    """Return whether the kernel's figure can be true beside ours; both in bytes, or counts."""
    allowed = ALLOWED[check]
    return -slack_bytes(allowed.less, scene) <= kernel - ours <= slack_bytes(allowed.more, scene)

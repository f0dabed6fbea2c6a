# SPDX-License-Identifier: GPL-2.0-only
"""The parts of a QEMU command line that are for CPUs of this host (KVM), and where threads run.

No command line here has been tried on hardware by the project: what is tested is their text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_NODES = Path("/sys/devices/system/node")
_BOARDS = {"amd64": ("-M", "pc"), "arm64": ("-M", "virt,gic-version=host")}


def board(arch: str) -> list[str]:
    """Return the arguments of a machine whose CPUs are this host's."""
    return [*_BOARDS[arch], "-cpu", "host", "-accel", "kvm"]


def memory(node: int, mebibytes: int) -> str:
    """Return the object that is the memory of a node of the guest: all of it there from the start.

    Else the guest's first touch of a page would measure a page fault of this host. It comes from
    one node of this host, the guest's nodes by turns; the host must not merge it (KSM).
    """
    text = f"memory-backend-memfd,id=m{node},size={mebibytes}M,prealloc=on,merge=off"
    nodes = host_nodes()
    return f"{text},host-nodes={nodes[node % len(nodes)]},policy=bind" if nodes else text


def host_nodes() -> list[int]:
    """Return the nodes of this host that have memory; none where it knows none."""
    try:
        return numbers((_NODES / "has_memory").read_text())
    except OSError:
        return []


def host_cpus(node: int) -> list[int]:
    """Return the CPUs of a node of this host that this process may use."""
    try:
        of_node = numbers((_NODES / f"node{node}/cpulist").read_text())
    except OSError:
        return []
    allowed = os.sched_getaffinity(0)
    return [cpu for cpu in of_node if cpu in allowed]


def numbers(text: str) -> list[int]:
    """Return the numbers of a list of the kernel's, such as "0-3,8"."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def places(nodes_of_cpus: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the CPU of this host for each CPU of a guest, and those that are left for the rest.

    nodes_of_cpus: the guest's node of each of its CPUs. Empty lists where there are too few CPUs:
    then nothing is pinned.
    """
    nodes = host_nodes() or [0]
    free = {node: host_cpus(node) for node in nodes}
    if nodes == [0] and not free[0]:
        free = {0: sorted(os.sched_getaffinity(0))}
    chosen: list[int] = []
    for node in nodes_of_cpus:
        there = free[nodes[node % len(nodes)]]
        if not there:
            return [], []
        chosen.append(there.pop())
    rest = [cpu for cpus in free.values() for cpu in cpus]
    return (chosen, rest) if rest else ([], [])


def pin(pid: int, vcpus: Sequence[int], nodes_of_cpus: Sequence[int]) -> bool:
    """Give each vCPU thread of a QEMU a CPU of its own, and the other threads the others.

    vcpus: thread ids, in the order of the guest's CPUs (QMP query-cpus-fast). Returns whether that
    was possible.
    """
    chosen, rest = places(nodes_of_cpus)
    if not chosen:
        return False
    for task in Path(f"/proc/{pid}/task").iterdir():
        thread = int(task.name)
        place = [chosen[vcpus.index(thread)]] if thread in vcpus else rest
        try:
            os.sched_setaffinity(thread, place)
        except ProcessLookupError:
            continue  # a thread that has ended meanwhile
    return True

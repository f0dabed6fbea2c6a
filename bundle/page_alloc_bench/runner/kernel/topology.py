# SPDX-License-Identifier: GPL-2.0-only
"""Which CPUs are near each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import procfs


@dataclass(frozen=True)
class Place:
    """Where a CPU is. core: the first CPU of its core. node: of its memory."""

    core: int
    node: int


def places(cpus: Iterable[int], root: str = "/") -> dict[int, Place]:
    """Return where each CPU is: its topology/thread_siblings_list, and its nodeN (sysfs).

    A kernel that does not tell one of these has each CPU on a core of its own, or all on node 0.
    """
    found = {}
    for cpu in cpus:
        directory = os.path.join(root, procfs.CPUS.lstrip("/"), f"cpu{cpu}")
        siblings = procfs.read_or_none(f"{directory}/topology/thread_siblings_list")
        core = min(procfs.parse_list(siblings), default=cpu) if siblings else cpu
        try:
            nodes = [n[4:] for n in os.listdir(directory) if n.startswith("node")]
        except OSError:
            nodes = []
        found[cpu] = Place(core, min((int(n) for n in nodes if n.isdigit()), default=0))
    return found


def peers(distance: str, known: Mapping[int, Place]) -> dict[int, int]:
    """Return a partner for each CPU that has one, such that each CPU is the partner of one.

    distance: smt: another thread of its core; core: another core of its node; node: another node.
    """
    if distance == "smt":
        return _within(known, lambda cpu: known[cpu].core, lambda cpu: cpu)
    if distance == "core":
        return _within(known, lambda cpu: known[cpu].node, lambda cpu: known[cpu].core)
    return _turned(list(known), lambda cpu: known[cpu].node)


def _within(
    cpus: Iterable[int], group: Callable[[int], int], apart: Callable[[int], int]
) -> dict[int, int]:
    """Return partners that are in the same group, and apart."""
    groups: dict[int, list[int]] = {}
    for cpu in cpus:
        groups.setdefault(group(cpu), []).append(cpu)
    return {cpu: of for each in groups.values() for cpu, of in _turned(each, apart).items()}


def _turned(cpus: Sequence[int], apart: Callable[[int], int]) -> dict[int, int]:
    """Return for each CPU the one so many places on, where these differ for all of them.

    Where there is no such number, the last are left out.
    """
    if len({apart(cpu) for cpu in cpus}) < 2:
        return {}
    ranks: dict[int, int] = {}
    ranked = []
    for cpu in cpus:
        ranks[apart(cpu)] = ranks.get(apart(cpu), -1) + 1
        ranked.append((ranks[apart(cpu)], apart(cpu), cpu))
    order = [cpu for _, _, cpu in sorted(ranked)]
    while order:
        for step in range(1, len(order)):
            turned = dict(zip(order, order[step:] + order[:step]))
            if all(apart(cpu) != apart(other) for cpu, other in turned.items()):
                return turned
        order.pop()
    return {}

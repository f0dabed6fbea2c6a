# SPDX-License-Identifier: GPL-2.0-only
"""What a workload that measures rates measures, one case after the other."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from page_alloc_bench.runner import pattern
from page_alloc_bench.runner.command_line.lists import ALL
from page_alloc_bench.runner.kernel import cgroup, procfs
from page_alloc_bench.runner.module.abi import Gfp, GfpModifier
from page_alloc_bench.runner.result.case import Case

from . import GFP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Made

_BYTES_PER_BLOCK = 16  # of the module's bookkeeping
PART = 4  # of the available memory one part in so many may be held


@dataclass(frozen=True)
class Measurement:
    """What is measured at once.

    case: of its metrics. parameters: of the pattern. gfp: as --gfp has it. cpus: those that work.
    blocks: that each of these holds at most. peers: whom each hands its blocks to, where it does.
    absent: why there is no such case on this host, "" if there is.
    """

    case: Case
    parameters: Mapping[str, int]
    gfp: str
    cpus: tuple[int, ...]
    blocks: int
    peers: Mapping[int, int]
    absent: str = ""

    @property
    def held_bytes(self) -> int:
        """Return the most that it holds, with what the module needs to know which blocks."""
        block = (procfs.page_size() << self.case.order) + _BYTES_PER_BLOCK
        return len(self.cpus) * self.blocks * block

    @property
    def gfp_class(self) -> Gfp:
        """Return how the module is to ask for pages."""
        return Gfp[self.gfp.partition("+")[0].upper()]

    @property
    def gfp_modifiers(self) -> int:
        """Return what else it is to ask for."""
        return sum(GfpModifier[each.upper()] for each in self.gfp.split("+")[1:])

    @property
    def accounted(self) -> bool:
        """Return whether the pages are to be charged to a cgroup."""
        return bool(self.gfp_modifiers & GfpModifier.ACCOUNT)


def measurements(
    options: Namespace,
    order: int,
    made: Made,
    *,
    cpus: Sequence[int],
    high: int,
) -> Iterator[Measurement]:
    """Yield what is measured at an order. high: pages that the list of a CPU holds at most."""
    peers, blocks = made.peers, pattern.every()[made.pattern].blocks
    for step in _steps(options.cpus_steps, len(cpus)):
        for gfp in options.gfp:
            for variant, parameters in made.variants(options, order, high):
                chosen = dict(variant)
                if step != len(cpus):
                    chosen["cpus"] = str(step)
                if gfp != GFP[0]:
                    chosen["gfp"] = gfp.replace("+", "-")
                of = dict(peers.of(variant, options, cpus[:step])) if peers else {}
                yield Measurement(
                    case=Case(order, tuple(sorted(chosen.items()))),
                    parameters=parameters,
                    gfp=gfp,
                    cpus=tuple(sorted(of)) if peers else tuple(cpus[:step]),
                    blocks=blocks(parameters),
                    peers=of,
                    absent=_absent(made, order, of, gfp),
                )


def _absent(made: Made, order: int, peers: Mapping[int, int], gfp: str) -> str:
    """Return why there is no such case, "" if there is."""
    if made.pages_only and order:
        return "the kernel does it with single pages only, which are of order 0"
    # 8dcb3060d81d ("memcg: page_alloc: skip bulk allocator for __GFP_ACCOUNT", v5.15)
    if made.pages_only and "account" in gfp.split("+"):
        return "the kernel gives only one page at a time of what is charged"
    return made.peers.absent if made.peers and not peers else ""


def _steps(steps: Sequence[str], cpus: int) -> list[int]:
    """Return each number of CPUs once."""
    return list(dict.fromkeys(cpus if step == ALL else int(step) for step in steps))


def room_bytes(memory: Mapping[str, int], *, accounted: bool = False) -> int:
    """Return how much a measurement may hold, of /proc/meminfo in bytes.

    accounted: whether it is charged to the cgroup of this process, whose limit counts then too.

    Others go on using the host: what is held must neither make them wait for memory nor be the
    cause that one is killed.
    """
    available = memory.get("MemAvailable", 0)
    group = cgroup.own() if accounted else None
    limit = group.limit_bytes() if group else None
    if group and limit is not None:
        available = min(available, max(limit - (group.usage_bytes() or 0), 0))
    return available // PART

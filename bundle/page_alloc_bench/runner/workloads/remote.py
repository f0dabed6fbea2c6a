# SPDX-License-Identifier: GPL-2.0-only
"""Allocate on each CPU what another one frees."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Words
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.measuring import rate
from page_alloc_bench.runner.patterns.rings import parameters_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

DISTANCES = ("smt", "core", "node")  # as kernel/topology.py has them


def _variants(
    options: Namespace, order: int, _high: int
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Yield each distance."""
    for distance in options.distance:
        yield {"distance": distance}, parameters_of(order)


def _peers(chosen: Mapping[str, str], _options: Namespace, cpus: Sequence[int]) -> dict[int, int]:
    from page_alloc_bench.runner.kernel import topology

    return topology.peers(chosen["distance"], topology.places(cpus))


WORKLOAD = rate.workload(
    "remote",
    isolates="what it costs to free a block on another CPU than the one that allocated it",
    variants=_variants,
    pattern="rings",
    shortfall="ring_full",
    needs="two CPUs",
    peers=rate.Peers(_peers, "no two of its CPUs are so far from each other"),
    options=(
        Option(
            "distance",
            Words(*DISTANCES),
            list(DISTANCES),
            "how far the CPU that frees is, one after the other: another thread of the core (smt), "
            "another core of the node (core), another node (node); what the host does not have is "
            "left out",
            metavar="LIST",
            kind="invalidating",
        ),
    ),
)

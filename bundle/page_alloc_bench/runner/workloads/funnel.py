# SPDX-License-Identifier: GPL-2.0-only
"""Allocate on some CPUs, and free on the others."""

from __future__ import annotations

from page_alloc_bench.runner.command_line.lists import Steps
from page_alloc_bench.runner.command_line.option import Option
from page_alloc_bench.runner.measuring import rate
from page_alloc_bench.runner.patterns.rings import parameters_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

HALF = "half"


def _variants(
    options: Namespace, order: int, _high: int
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Yield each number of CPUs that free."""
    for freeing in options.freeing:
        yield {} if freeing == HALF else {"freeing": freeing}, parameters_of(order)


def peers(chosen: Mapping[str, str], _options: Namespace, cpus: Sequence[int]) -> dict[int, int]:
    """Return which CPU frees what each allocates: itself, if it does not allocate."""
    count, freeing = len(cpus), int(chosen.get("freeing", len(cpus) // 2))
    if not 0 < freeing <= count - freeing:
        return {}
    frees = [(i + 1) * freeing // count > i * freeing // count for i in range(count)]
    these = [cpu for cpu, it_frees in zip(cpus, frees) if it_frees]
    others = [cpu for cpu, it_frees in zip(cpus, frees) if not it_frees]
    mine = {cpu: these[i * freeing // len(others)] for i, cpu in enumerate(others)}
    return {**mine, **{cpu: cpu for cpu in these}}


WORKLOAD = rate.workload(
    "funnel",
    isolates="the zone and its lock: no block is freed where it can be allocated again",
    variants=_variants,
    pattern="rings",
    shortfall="ring_full",
    needs="two CPUs",
    peers=rate.Peers(peers, "it needs two CPUs, and no more that free than that allocate"),
    options=(
        Option(
            "freeing",
            Steps(HALF),
            [HALF],
            "on how many of the CPUs blocks are freed, one number after the other, like 1,half; "
            "the others allocate",
            metavar="LIST",
            kind="invalidating",
        ),
    ),
)

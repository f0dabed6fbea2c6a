# SPDX-License-Identifier: GPL-2.0-only
"""Whom the CPUs of a host hand their blocks to, by how far they are from each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from page_alloc_bench.runner import options
from page_alloc_bench.runner.kernel import topology
from page_alloc_bench.runner.kernel.topology import Place
from page_alloc_bench.runner.workloads import funnel


def host(cores: Iterable[tuple[int, int, int]]) -> dict[int, Place]:
    """The places of CPUs given as (cpu, first CPU of its core, node)."""
    return {cpu: Place(core, node) for cpu, core, node in cores}


# Two nodes of three cores of two threads, numbered as most servers do: threads last.
SERVER = host((c, c % 6, c % 6 // 3) for c in range(12))
# Two cores with two threads and three with one, on one node, as laptops have them.
LAPTOP = host([(0, 0, 0), (1, 0, 0), (2, 2, 0), (3, 2, 0), (4, 4, 0), (5, 5, 0), (6, 6, 0)])
UNEVEN = host([(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 3, 1)])
ALONE = host([(0, 0, 0)])


@pytest.mark.parametrize("known", [SERVER, LAPTOP, UNEVEN, ALONE])
@pytest.mark.parametrize("distance", ["smt", "core", "node"])
def test_each_is_the_partner_of_one_and_as_far_as_was_asked_for(
    known: dict[int, Place], distance: str
) -> None:
    found = topology.peers(distance, known)
    assert sorted(found) == sorted(found.values())
    for cpu, other in found.items():
        mine, its = known[cpu], known[other]
        assert cpu != other
        assert (mine.core == its.core) is (distance == "smt")
        assert (mine.node == its.node) is (distance != "node")


def test_all_cpus_that_can_have_a_partner_have_one() -> None:
    assert [len(topology.peers(d, SERVER)) for d in ("smt", "core", "node")] == [12, 12, 12]
    assert sorted(topology.peers("smt", LAPTOP)) == [0, 1, 2, 3]
    assert len(topology.peers("core", LAPTOP)) == 7
    assert topology.peers("node", LAPTOP) == topology.peers("core", ALONE) == {}
    assert len(topology.peers("node", UNEVEN)) == 2


def test_where_a_cpu_is_stands_in_sysfs(tmp_path: Path) -> None:
    for cpu, siblings, node in ((0, "0,4", 0), (4, "0,4", 0), (5, "1,5", 1)):
        directory = tmp_path / f"sys/devices/system/cpu/cpu{cpu}"
        (directory / "topology").mkdir(parents=True)
        (directory / f"node{node}").mkdir()
        (directory / "topology/thread_siblings_list").write_text(siblings + "\n")
    assert topology.places([0, 4, 5, 9], str(tmp_path)) == {
        0: Place(0, 0), 4: Place(0, 0), 5: Place(1, 1), 9: Place(9, 0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "freeing", "free"),
    [(2, "half", 1), (4, "half", 2), (5, "half", 2), (4, "1", 1), (7, "3", 3),
     (1, "half", 0), (4, "3", 0)],
)  # fmt: skip
def test_a_funnel_has_one_that_frees_for_each_that_allocates(
    count: int, freeing: str, free: int
) -> None:
    cpus = [3 * n for n in range(count)]
    chosen = {} if freeing == "half" else {"freeing": freeing}
    found = funnel.peers(chosen, options.parse(["--workload=funnel"]), cpus)
    these = {cpu for cpu, peer in found.items() if cpu == peer}
    assert len(these) == free
    assert sorted(found) == (cpus if free else [])
    assert set(found.values()) == these

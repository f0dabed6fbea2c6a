# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs in brief on machines unlike the usual: what they say of CPUs and nodes is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.runner.kernel import procfs
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(45)
BENCH = "/root/bench.run"
SMALL = "--iterations=1 --held=200 --spread=100 --output-path=/root/result.json"
ORDERS = (0, 2)
Ran = tuple[dict[str, Any], str]


def measure(guest: Guest, orders: tuple[int, ...] = ORDERS) -> Ran:
    """Return a run's result, by the schema, and what it said."""
    options = f"{SMALL} --alloc-orders={','.join(map(str, orders))}"
    done = guest.run(f"{BENCH} {options}", timeout=PATIENCE_S)
    document = json.loads(guest.run("cat /root/result.json").stdout)
    by_schema.hold(document)
    assert document["run"]["complete"] is True
    assert guest.run("grep ^page_alloc_bench /proc/modules", check=False).stdout == ""
    assert "WARNING" not in guest.dmesg()
    return document, done.stderr


def check(
    guest: Guest, ran: Ran, cpus: list[int], orders: tuple[int, ...] = ORDERS
) -> dict[int, int]:
    """Check what holds on any machine; return the node that was nearest to each CPU."""
    document, said = ran
    run, machine = document["run"], document["run"]["machine"]
    assert run["cpus"] == cpus
    assert f"CPUs {procfs.format_list(cpus)}, {len(machine['nodes'])} node(s)" in said
    for node in machine["nodes"]:
        directory = f"/sys/devices/system/node/node{node['node']}"
        assert guest.run(f"cat {directory}/cpulist").stdout.strip() == node["cpus"]
        assert guest.run(f"cat {directory}/distance").stdout.strip() == node["distances"]
        kib = guest.run(f"grep MemTotal {directory}/meminfo").stdout.split()[3]
        assert int(kib) << 10 == node["memory_bytes"]
        for cpu in procfs.parse_list(node["cpus"]):
            assert machine["node_of_cpu"][str(cpu)] == node["node"]
    assert sorted(map(int, machine["node_of_cpu"])) == cpus
    for order in orders:
        for name in ("kernel_page_allocs", "kernel_page_frees", "kernel_page_allocs_remote"):
            each = document[f"{name}_per_cpu_order{order}"]
            assert len(each) == len(cpus)
            assert [sum(each)] == document[f"{name}_order{order}"]
        assert min(document[f"kernel_page_allocs_per_cpu_order{order}"]) > 200
        assert (
            document[f"kernel_page_allocs_per_cpu_order{order}"]
            == document[f"kernel_page_frees_per_cpu_order{order}"]
        )
        # Each worker was within a block of its target when the OOM killer came.
        held = document[f"antagonist_held_bytes_order{order}"][0] // (4096 << order)
        assert 100 * len(cpus) - len(cpus) <= held <= 300 * len(cpus) + len(cpus)
    assert [clock["cpu"] for clock in run["clocks"]] == cpus
    assert f"on {len(cpus)} CPUs" in said
    return {clock["cpu"]: clock["node"] for clock in run["clocks"]}


def boot(bundle: Path, **machine: Any) -> Iterator[Guest]:
    with Guest(kernel="6.1", **machine) as guest:
        guest.copy_to(bundle, BENCH)
        yield guest


@pytest.fixture(scope="module")
def twelve_nodes(bundle: Path) -> Iterator[Guest]:
    """Two CPUs in the first node, one in each other, the last being node 11."""
    yield from boot(bundle, cpus=13, nodes=12, memory="840M")


@pytest.mark.attempt("12 nodes", "complete; every figure by its node", "a whole run")
def test_twelve_nodes(twelve_nodes: Guest) -> None:
    ran = measure(twelve_nodes)
    machine = ran[0]["run"]["machine"]
    assert [node["node"] for node in machine["nodes"]] == list(range(12))
    assert min(node["memory_bytes"] for node in machine["nodes"]) > 32 << 20
    nearest = check(twelve_nodes, ran, list(range(13)))
    assert nearest == {0: 0, **{cpu: cpu - 1 for cpu in range(1, 13)}}
    zones = ran[0]["run"]["phases"][0]["buddyinfo_before"]
    assert {f"node {node} DMA32" for node in range(12)} <= set(zones)


@pytest.mark.attempt("a CPU in the middle offline", "complete, without that CPU", "a whole run")
def test_a_cpu_in_the_middle_is_offline(twelve_nodes: Guest) -> None:
    cpu = "/sys/devices/system/cpu/cpu6/online"
    twelve_nodes.run(f"echo 0 > {cpu}")
    try:
        ran = measure(twelve_nodes)
        cpus = [n for n in range(13) if n != 6]
        nearest = check(twelve_nodes, ran, cpus)
        refused = twelve_nodes.run(f"{BENCH} --cpus=5-7", check=False)
    finally:
        twelve_nodes.run(f"echo 1 > {cpu}")
    assert nearest == {n: max(n - 1, 0) for n in cpus}
    run = ran[0]["run"]
    assert (run["machine"]["cpus_online"], run["machine"]["cpus_present"]) == ("0-5,7-12", "0-12")
    assert "offline-cpus" in {finding["name"] for finding in run["preflight"]}
    assert refused.returncode == 2
    assert "CPU 6 is offline" in refused.stderr


REMOTE = """
import json, time
from page_alloc_bench.runner.module.device import Device

def missed():
    text = open("/proc/vmstat").read()
    return dict(line.split() for line in text.splitlines())["numa_miss"]

with Device() as session:
    session.configure(pattern="antagonist", parameters={"held": 500, "spread": 500}, order=0,
                      seed=1, cpus=[2], time_one_in=0, sample_capacity=0)
    before = int(missed())
    session.start()
    time.sleep(2)
    session.stop()
    stats = session.cpu_stats(2)
    print(json.dumps([stats.node, stats.allocs, stats.remote, int(missed()) - before]))
"""


@pytest.mark.attempt(
    "a node without memory", "complete; the nearest node counts as local", "a whole run"
)
def test_a_node_without_memory(bundle: Path) -> None:
    """Node 2 has a CPU only; node 1 is nearer to it than 0 and 3, and stands for its own."""
    for guest in boot(bundle, cpus=4, nodes=4, memory="600M", memoryless=(2,)):
        ran = measure(guest)
        assert check(guest, ran, [0, 1, 2, 3]) == {0: 0, 1: 1, 2: 1, 3: 3}
        run = ran[0]["run"]
        node = run["machine"]["nodes"][2]
        assert (node["node"], node["cpus"], node["memory_bytes"]) == (2, "2", 0)
        assert "memoryless-nodes" in {finding["name"] for finding in run["preflight"]}
        lab.install(guest)
        guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
        nearest, allocs, remote, missed = lab.python(guest, REMOTE)
        guest.run("rmmod page_alloc_bench")
        assert nearest == 1
        assert allocs > 1000
        # There is plenty in node 1, and its pages are not remote; the kernel calls that no miss.
        assert remote == 0
        assert missed < allocs / 100


@pytest.mark.attempt("32 CPUs", "complete", "a whole run")
def test_32_cpus(bundle: Path) -> None:
    for guest in boot(bundle, cpus=32, nodes=2, memory="1G"):
        ran = measure(guest, (0,))
        nearest = check(guest, ran, list(range(32)), (0,))
        assert nearest == {cpu: cpu // 16 for cpu in range(32)}

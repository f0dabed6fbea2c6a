# SPDX-License-Identifier: GPL-2.0-only
"""Which path each operation of a pattern takes, and what the modifiers of its GFP class do."""

from __future__ import annotations

import re

import pytest

from page_alloc_bench.targets.guest import Guest
from pattern_session import ask


@pytest.fixture(scope="module")
def machine(traced: Guest) -> Guest:
    return traced


def paths(machine: Guest, pattern: str, order: int) -> dict[str, float]:
    """The part of the allocations, and of the frees, that took each path."""
    seen: dict[str, float] = ask(
        machine,
        f"""
with Device() as session:
    session.configure(**{{**{pattern}, "order": {order}, "time_one_in": 7, "allocs": 20_000}})
    session.start()
    await_finished(session)
    session.stop()
    known = session.patterns["pairs"].operations
    timed = {{name: sum(session.latency(cpu, name, sample=False).timed for cpu in CPUS)
             for name in known}}
    histograms = {{name: [sum(each) for each in zip(*(
        session.latency(cpu, name, sample=False).histogram for cpu in CPUS))] for name in known}}
    kept = [len(session.latency(0, name).sample) for name in known[3:]]
for kind in ("alloc", "free"):
    parts = [name for name in known if name.endswith("_" + kind)]
    assert timed[kind] > 100
    assert sum(timed[name] for name in parts) == timed[kind]
    assert [sum(each) for each in zip(*(histograms[name] for name in parts))] == histograms[kind]
assert not any(kept)
print(json.dumps({{name: count / timed[name.rpartition("_")[2]]
                  for name, count in timed.items() if name in known[3:]}}))
""",
    )
    return seen


def test_each_timed_operation_has_the_path_that_it_took(machine: Guest) -> None:
    """A pair of order 0 stays on the list of the CPU; larger blocks are on none."""
    small, large = paths(machine, "PAIRS", 0), paths(machine, "PAIRS", 4)
    assert small["hit_alloc"] > 0.98
    assert small["put_free"] > 0.98
    assert large["bypass_alloc"] > 0.98
    assert large["drain_free"] > 0.98


def test_refills_and_drains_are_what_a_batch_says(machine: Guest) -> None:
    """Far more pages than the lists hold: about one allocation in batch refills."""
    many = """{**BURSTS, "parameters": {"depth": 10_000, "release": 0}}"""
    seen = paths(machine, many, 0)
    zones = machine.run("cat /proc/zoneinfo").stdout.partition("DMA32")[2]
    batch = int(re.findall(r"batch: (\d+)", zones)[0])
    assert 0.3 / batch < seen["refill_alloc"] < 3 / batch
    assert 0 < seen["drain_free"] < 0.1


def test_bulk_gets_all_pages_that_it_asks_for_and_only_of_order_0(machine: Guest) -> None:
    seen = ask(
        machine,
        """
with Device() as session:
    session.configure(**{**BULK, "time_one_in": 3, "allocs": 64 * 3000})
    before = pages("pgalloc_")
    session.start()
    await_finished(session)
    kernel = pages("pgalloc_") - before
    session.stop()
    stats = [session.cpu_stats(cpu) for cpu in CPUS]
    calls = [session.latency(cpu, "alloc").timed for cpu in CPUS]
    try:
        session.configure(**{**BULK, "order": 1})
        refused = False
    except OSError:
        refused = True
print(json.dumps([[s.allocs for s in stats], [s.shortfalls for s in stats], calls, kernel,
                  refused]))
""",
    )
    allocs, short, calls, kernel, refused = seen
    assert allocs == [64 * 3000] * 4
    assert short == [0] * 4
    assert calls == [1000] * 4
    assert kernel == pytest.approx(sum(allocs), rel=0.03)
    assert refused


@pytest.mark.parametrize("modifier", ["COMP", "ZERO", "THISNODE", "ACCOUNT"])
def test_each_modifier_of_gfp_is_asked_for(machine: Guest, modifier: str) -> None:
    seen = ask(
        machine,
        f"""
trace_order_3()
with Device() as session:
    session.configure(**{{**ANTAGONIST, "order": 3, "gfp": Gfp.USER, "allocs": 200,
                          "gfp_modifiers": GfpModifier.{modifier}}})
    session.start()
    await_finished(session)
    session.stop()
rows = [line for line in traced() if "mm_page_alloc:" in line]
print(json.dumps([len(rows), sorted({{line.split("gfp_flags=")[1].strip() for line in rows}})]))
""",
    )
    count, (flags,) = seen
    assert count == 4 * 200
    # The kernel's name of GFP_KERNEL with __GFP_ACCOUNT is GFP_KERNEL_ACCOUNT.
    assert f"_{modifier}" in flags


CHARGE = """
os.system("mkdir -p /tmp/cgroup2; mount -t cgroup2 none /tmp/cgroup2; cd /tmp/cgroup2; "
          "echo +memory > cgroup.subtree_control; mkdir -p ours")

def kernel():
    rows = dict(line.split() for line in open("/tmp/cgroup2/ours/memory.stat"))
    return int(rows["kernel"])

def hold(modifiers):
    with Device() as session:
        session.configure(**{**BURSTS, "parameters": {"depth": 1000, "release": 0}, "order": 2,
                             "gfp": Gfp.USER, "gfp_modifiers": modifiers})
        before = kernel()
        session.start()
        looks = []
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            looks.append(kernel() - before)
        session.stop()
        charged = [session.cpu_stats(cpu).charged for cpu in CPUS]
    time.sleep(0.5)
    return charged, max(looks), kernel() - before
"""


def test_account_charges_the_cgroup_of_who_configured(machine: Guest) -> None:
    """What the cgroup says of itself; it gets everything back."""
    seen = ask(
        machine,
        CHARGE
        + """
open("/tmp/cgroup2/ours/cgroup.procs", "w").write(str(os.getpid()))
print(json.dumps([hold(GfpModifier.ACCOUNT), hold(GfpModifier.COMP)]))
open("/tmp/cgroup2/cgroup.procs", "w").write(str(os.getpid()))
""",
    )
    (charged, held, after), (uncharged, nothing, _) = seen
    assert charged == [1] * 4
    assert held > 4 << 20  # of up to 4 * 1000 blocks of 16 KiB
    assert after < 2 << 20
    assert uncharged == [0] * 4
    assert nothing < 2 << 20


def test_account_in_the_topmost_cgroup_charges_nothing_and_says_so(machine: Guest) -> None:
    charged, held, _ = ask(machine, CHARGE + "print(json.dumps(hold(GfpModifier.ACCOUNT)))")
    assert charged == [0] * 4
    assert held < 2 << 20

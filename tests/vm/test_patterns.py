# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every pattern of the module, shown by one that hands blocks over to other CPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import lab
from page_alloc_bench.targets.guest import Guest

HELPERS = """
import json, os, re, signal, time
from page_alloc_bench.runner.module.abi import *
from page_alloc_bench.runner.module.device import Device

CPUS = sorted(os.sched_getaffinity(0))
ANTAGONIST = dict(pattern="antagonist", parameters={"held": 100, "spread": 100}, order=0, seed=1,
                  cpus=CPUS, time_one_in=32, sample_capacity=100)
HANDOVER = {**ANTAGONIST, "pattern": "handover", "parameters": {"depth": 512}}
PAIRS = {**ANTAGONIST, "pattern": "pairs", "parameters": {"held": 0, "every": 1}}
STEPPING = {**PAIRS, "parameters": {"held": 7, "every": 100}}
BURSTS = {**ANTAGONIST, "pattern": "bursts", "parameters": {"depth": 100, "release": 0}}
BACKWARDS = {**BURSTS, "parameters": {"depth": 100, "release": 1}}
ANY_ORDER = {**BURSTS, "parameters": {"depth": 100, "release": 2}}
RINGS = {**ANTAGONIST, "pattern": "rings", "parameters": {"depth": 64, "fake": 0},
         "peers": {0: 2, 1: 3, 2: 1, 3: 0}}
FUNNEL = {**RINGS, "peers": {0: 1, 1: 1, 2: 1, 3: 3}}
BULK = {**ANTAGONIST, "pattern": "bulk", "parameters": {"pages": 64}}
FAKE = {**RINGS, "parameters": {"depth": 64, "fake": 1}}

TRACING = "/sys/kernel/tracing"

def trace_order_3():
    os.system(f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}")
    for event in ("mm_page_alloc", "mm_page_free"):
        with open(f"{TRACING}/events/kmem/{event}/filter", "w") as file:
            file.write("order == 3")
    open(f"{TRACING}/trace", "w").close()

def traced():
    return [line for line in open(f"{TRACING}/trace") if " pab/" in line]

def pages(prefix):
    lines = [line.split() for line in open("/proc/vmstat")]
    return sum(int(value) for name, value in lines if name.startswith(prefix))

def free_bytes():
    on_cpu_lists = re.findall("^ +count: ([0-9]+)", open("/proc/zoneinfo").read(), re.M)
    return (pages("nr_free_pages") + sum(map(int, on_cpu_lists))) * 4096

def await_finished(session):
    deadline = time.monotonic() + 120
    while (progress := session.progress()).finished < progress.workers:
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""


# The tracepoints are on from the start, when there is one CPU: to switch it on later patches code
# that four CPUs execute, which emulated ones sometimes do not survive (an int3 left in __schedule).
TRACED = "trace_event=kmem:mm_page_alloc,kmem:mm_page_free"


@pytest.fixture(scope="module")
def machine() -> Iterator[Guest]:
    """A guest whose module has one more file in patterns/ than it is shipped with."""
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="1G", cmdline_extra=TRACED) as guest:
        lab.install(guest)
        module = lab.kernel_module(guest.kernel, "kmod", patterns="tests/kmod/patterns")
        guest.run(f"mkdir -p {lab.IN_GUEST}/patterns")
        guest.copy_to(module, f"{lab.IN_GUEST}/patterns/")
        guest.run(f"insmod {lab.IN_GUEST}/patterns/{module.name}")
        yield guest
        guest.run("rmmod page_alloc_bench")
        assert "WARNING" not in guest.dmesg()


def ask(machine: Guest, code: str) -> Any:
    return lab.python(machine, HELPERS + code)


BLOCKS = ["alloc", "free", "alloc_failure"]
PATHS = ["hit_alloc", "refill_alloc", "bypass_alloc", "fallback_alloc", "put_free", "drain_free"]


def test_the_module_says_what_its_patterns_are(machine: Guest) -> None:
    seen = ask(
        machine,
        """
with Device() as session:
    print(json.dumps({name: [each.parameters, each.operations]
                      for name, each in session.patterns.items()}))
""",
    )
    assert seen == {
        "antagonist": [
            {"held": [1, 1 << 24], "spread": [1, 1 << 24]},
            [*BLOCKS, *PATHS],
        ],
        "bulk": [{"pages": [1, 4096]}, [*BLOCKS, *PATHS]],
        "bursts": [
            {"depth": [1, 1 << 25], "release": [0, 2]},
            [*BLOCKS, *PATHS],
        ],
        "handover": [{"depth": [1, 4096]}, [*BLOCKS, *PATHS, "never"]],
        "pairs": [
            {"held": [0, (1 << 25) - 1], "every": [1, (1 << 64) - 1]},
            [*BLOCKS, *PATHS],
        ],
        "rings": [
            {"depth": [1, 1 << 25], "fake": [0, 1]},
            [*BLOCKS, *PATHS],
        ],
    }


@pytest.mark.parametrize("order", [0, 4])
def test_blocks_that_other_cpus_free_are_lost_by_nobody(machine: Guest, order: int) -> None:
    seen = ask(
        machine,
        f"""
with Device() as session:
    session.configure(**{{**HANDOVER, "order": {order}}})
    before = pages("pgalloc_"), pages("pgfree")
    session.start()
    looks = []
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        progress = session.progress()
        looks.append(progress.allocs - progress.frees)
    session.stop()
    kernel = pages("pgalloc_") - before[0], pages("pgfree") - before[1]
    stats = [session.cpu_stats(cpu) for cpu in CPUS]
    timed = {{name: [session.latency(cpu, name).timed for cpu in CPUS]
             for name in session.patterns["handover"].operations}}
print(json.dumps(dict(looks=[min(looks), max(looks)], allocs=[s.allocs for s in stats],
                      frees=[s.frees for s in stats], kernel=kernel, timed=timed)))
""",
    )
    allocs, frees = sum(seen["allocs"]), sum(seen["frees"])
    assert allocs == frees
    assert seen["allocs"] != seen["frees"]  # or else nothing was handed over
    assert 0 <= seen["looks"][0] <= seen["looks"][1] <= 4 * (512 + 1)
    assert allocs << order == pytest.approx(seen["kernel"][0], rel=0.03)
    assert frees << order == pytest.approx(seen["kernel"][1], rel=0.03)
    for name, counts in (("alloc", seen["allocs"]), ("free", seen["frees"])):
        # What is given back at the end is not timed: up to 512 blocks of each worker.
        expected = [count / 32 for count in counts]
        assert seen["timed"][name] == [pytest.approx(n, abs=18) for n in expected]
    assert not any(seen["timed"]["never"])


def test_kill_9_gives_back_what_is_handed_over(machine: Guest) -> None:
    seen = ask(
        machine,
        """
def round_trip():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        session = Device()
        session.configure(**{**HANDOVER, "order": 4})
        session.start()
        time.sleep(0.5)
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    time.sleep(0.5)

round_trip()
before = free_bytes()
for _ in range(4):
    round_trip()
print(json.dumps([before, free_bytes()]))
""",
    )
    assert seen[1] == pytest.approx(seen[0], rel=0.005)


EACH = [
    "ANTAGONIST", "HANDOVER", "PAIRS", "STEPPING", "BURSTS", "BACKWARDS", "ANY_ORDER",
    "RINGS", "FAKE", "BULK",
]  # fmt: skip


@pytest.mark.parametrize("pattern", EACH)
def test_a_worker_ends_by_itself_after_its_allocations(machine: Guest, pattern: str) -> None:
    seen = ask(
        machine,
        f"""
with Device() as session:
    session.configure(**{{**{pattern}, "allocs": 12345}})
    session.start()
    await_finished(session)
    running = session.progress()
    session.stop()
    stats = [session.cpu_stats(cpu) for cpu in CPUS]
print(json.dumps(dict(state=running.state, held=running.allocs - running.frees,
                      allocs=[s.allocs for s in stats], frees=sum(s.frees for s in stats),
                      took=[s.end_ns - s.begin_ns for s in stats],
                      finished=[s.finished for s in stats])))
""",
    )
    assert seen["state"] == 2  # until it is stopped
    assert seen["allocs"] == [12345] * 4
    assert seen["frees"] == 4 * 12345
    assert seen["held"] == 0 or pattern == "HANDOVER"
    assert seen["finished"] == [1] * 4
    assert all(took > 0 for took in seen["took"])


def rings(machine: Guest, rings: str) -> dict[str, Any]:
    """What two seconds of it did, by CPU; pages: what the kernel counted; lost: bytes."""
    seen: dict[str, Any] = ask(
        machine,
        f"""
before = pages("pgalloc_"), free_bytes()
with Device() as session:
    session.configure(**{rings})
    session.start()
    time.sleep(2)
    running = session.progress()
    session.stop()
    stats = [session.cpu_stats(cpu) for cpu in CPUS]
print(json.dumps(dict(held=running.allocs - running.frees, allocs=[s.allocs for s in stats],
                      frees=[s.frees for s in stats], full=[s.shortfalls for s in stats],
                      pages=pages("pgalloc_") - before[0])))
""",
    )
    return seen


def test_each_cpu_frees_what_another_allocated(machine: Guest) -> None:
    seen = rings(machine, "RINGS")
    allocs, frees, full = seen["allocs"], seen["frees"], seen["full"]
    assert min(allocs) > 1000
    assert sum(allocs) == sum(frees)
    assert 0 <= seen["held"] <= 4 * 65
    assert seen["pages"] >= sum(allocs)
    for cpu, peer in {0: 2, 1: 3, 2: 1, 3: 0}.items():
        # What was in the ring at the end, and what did not fit in, is freed where it came from.
        handed = allocs[cpu] - full[cpu]
        assert frees[peer] - full[peer] == pytest.approx(handed, abs=2 * 64)


def test_some_cpus_allocate_and_others_free(machine: Guest) -> None:
    seen = rings(machine, "FUNNEL")
    assert seen["allocs"][1] == 0
    assert min(seen["allocs"][0], seen["allocs"][2]) > 1000
    assert seen["allocs"][3] == seen["frees"][3] == 0  # nobody hands anything to it
    assert sum(seen["allocs"]) == sum(seen["frees"])
    full = seen["full"][0] + seen["full"][2]
    assert seen["frees"][1] == pytest.approx(sum(seen["allocs"]) - full, abs=2 * 64)


def test_what_is_no_block_is_handed_over_and_nothing_is_allocated(machine: Guest) -> None:
    seen = rings(machine, "FAKE")
    assert min(seen["allocs"]) > 1000
    assert sum(seen["allocs"]) == sum(seen["frees"])
    assert seen["pages"] < sum(seen["allocs"]) / 10


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ('{**RINGS, "cpus": [0, 1], "peers": {0: 1, 1: 2}}', "EINVAL"),
        ('{**RINGS, "peers": {0: 1, 1: 2, 2: 3, 3: 1 << 31}}', "EINVAL"),
        ('{**RINGS, "parameters": {"depth": 48, "fake": 0}}', "EINVAL"),
    ],
)
def test_whom_a_cpu_cannot_hand_blocks_to_is_refused(
    machine: Guest, given: str, error: str
) -> None:
    seen = ask(
        machine,
        f"""
import errno
with Device() as session:
    session.configure(**RINGS)
    try:
        session.configure(**{given})
        found = "nothing"
    except OSError as failure:
        found = errno.errorcode[failure.errno]
    session.start()  # of what was configured before
    session.stop()
print(json.dumps(found))
""",
    )
    assert seen == error


@pytest.mark.parametrize(("release", "first", "second"), [(0, 0, 1), (1, -1, -2)])
def test_a_burst_is_freed_in_the_order_that_was_asked_for(
    machine: Guest, release: int, first: int, second: int
) -> None:
    """Which page is freed when is read from the kernel's own tracepoints."""
    allocated, freed = _traced_burst(machine, release)
    assert (freed[0], freed[1]) == (allocated[first], allocated[second])


def test_a_burst_is_freed_in_any_order(machine: Guest) -> None:
    allocated, freed = _traced_burst(machine, 2)
    assert sorted(allocated) == sorted(freed)
    assert freed not in (allocated, allocated[::-1])


def _traced_burst(machine: Guest, release: int) -> tuple[list[str], list[str]]:
    """The pages of one burst on one CPU in the order of allocation, and in that of freeing."""
    rows = ask(
        machine,
        f"""
trace_order_3()
with Device() as session:
    session.configure(**{{**BURSTS, "parameters": {{"depth": 50, "release": {release}}},
                          "order": 3, "allocs": 50, "cpus": CPUS[:1]}})
    session.start()
    await_finished(session)
    session.stop()
rows = traced()
print(json.dumps([[name, re.search("pfn=(\\S+)", line)[1]] for line in rows
                  for name in ("mm_page_alloc:", "mm_page_free:") if name in line]))
""",
    )
    pages = {
        event: [pfn for name, pfn in rows if name == event]
        for event in ("mm_page_alloc:", "mm_page_free:")
    }
    assert [len(each) for each in pages.values()] == [50, 50]
    return pages["mm_page_alloc:"], pages["mm_page_free:"]


@pytest.mark.parametrize("gfp", ["KERNEL", "USER", "NOWAIT", "ATOMIC"])
def test_each_class_of_gfp_allocates(machine: Guest, gfp: str) -> None:
    """What the flags were is read from the kernel's own tracepoint."""
    seen = ask(
        machine,
        f"""
trace_order_3()
with Device() as session:
    session.configure(**{{**ANTAGONIST, "order": 3, "gfp": Gfp.{gfp}, "allocs": 200}})
    session.start()
    await_finished(session)
    session.stop()
rows = [line for line in traced() if "mm_page_alloc:" in line]
print(json.dumps([len(rows), sorted({{line.split("gfp_flags=")[1].strip() for line in rows}})]))
""",
    )
    count, flags = seen
    assert count == 4 * 200
    # GFP_NOWAIT contains __GFP_NOWARN from 6.7 on, so the kernel may not print it apart.
    assert flags in ([f"GFP_{gfp}|__GFP_NOWARN"], [f"GFP_{gfp}"])


def test_the_histogram_alone_when_it_is_asked_for(machine: Guest) -> None:
    seen = ask(
        machine,
        """
with Device() as session:
    session.configure(**{**ANTAGONIST, "allocs": 10_000})
    session.start()
    await_finished(session)
    session.stop()
    whole, alone = session.latency(0, "alloc"), session.latency(0, "alloc", sample=False)
print(json.dumps([whole.timed == alone.timed, whole.histogram == alone.histogram,
                  sum(whole.histogram) == whole.timed, len(whole.sample), len(alone.sample)]))
""",
    )
    assert seen == [True, True, True, 100, 0]


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

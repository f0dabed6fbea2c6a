# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every pattern of the module, shown by one that hands blocks over to other CPUs."""

from __future__ import annotations

from typing import Any

import pytest

from page_alloc_bench.targets.guest import Guest
from pattern_session import ask

BLOCKS = ["alloc", "free", "alloc_failure"]
PATHS = ["hit_alloc", "refill_alloc", "bypass_alloc", "fallback_alloc", "put_free", "drain_free"]


@pytest.fixture(scope="module")
def machine(traced: Guest) -> Guest:
    return traced


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
        "atomic": [
            {"blocks": [1, 1 << 25], "every_ms": [1, 1000]},
            [*BLOCKS, *PATHS, "pressed", "streak"],
        ],
        "bulk": [{"pages": [1, 4096]}, [*BLOCKS, *PATHS]],
        "bursts": [
            {"depth": [1, 1 << 25], "release": [0, 2]},
            [*BLOCKS, *PATHS],
        ],
        "fragment": [
            {"blocks": [1, 1 << 25], "order": [1, 10], "keep": [1, 1 << 25], "every": [1, 1 << 25]},
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
looks.sort()
print(json.dumps(dict(looks=[looks[0], looks[len(looks) // 2]], allocs=[s.allocs for s in stats],
                      frees=[s.frees for s in stats], kernel=kernel, timed=timed)))
""",
    )
    allocs, frees = sum(seen["allocs"]), sum(seen["frees"])
    assert allocs == frees
    assert seen["allocs"] != seen["frees"]  # or else nothing was handed over
    # Frees are counted first: a look that is interrupted there has what was allocated meanwhile.
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
    "FRAGMENT", "RINGS", "FAKE", "BULK", "ATOMIC",
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
    assert seen["held"] == 0 or pattern in ("HANDOVER", "FRAGMENT")
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

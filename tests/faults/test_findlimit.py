# SPDX-License-Identifier: GPL-2.0-only
"""findlimit on real kernels: what it counts is what the kernel says, and everything comes back."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lab
import page_alloc_bench
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(12)
HUGE = 2 << 20
CPUS = 4
HERE = "/root/findlimit"

# What every script below begins with. free() is without what only the page cache holds back.
PROLOGUE = """
import dataclasses, json, os, signal, subprocess, sys, threading, time
sys.path.insert(0, "/root/findlimit")
from page_alloc_bench.runner.errors import FindlimitError
from page_alloc_bench.runner.measuring.findlimit import measure as findlimit
from page_alloc_bench.runner.kernel import memory
from page_alloc_bench.runner.measuring.findlimit import populate
from page_alloc_bench.runner.kernel import procfs

def settings(**options):
    return findlimit.Settings(cpus=tuple(sorted(os.sched_getaffinity(0))), **options)

def measure(progress=None, **options):
    return dataclasses.asdict(findlimit.measure(settings(**options), on_progress=progress))

def child():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if open(f"/proc/{name}/comm").read().strip() == populate.NAME:
                    return int(name)
            except OSError:
                pass
    return None

def free():
    open("/proc/sys/vm/drop_caches", "w").write("3")
    time.sleep(0.5)
    return memory.free_bytes()

def sysctl(name, value):
    path = "/proc/sys/" + name.replace(".", "/")
    before = open(path).read()
    open(path, "w").write(value)
    return before

open("/proc/self/oom_score_adj", "w").write("-1000")
"""

Drive = Callable[[str], Any]


def driver(guest: Guest) -> Drive:
    """Copy the runner into the guest; return what runs a script there and gives its JSON back."""
    package = Path(page_alloc_bench.__file__).parent
    guest.run(f"rm -rf {HERE} && mkdir -p {HERE}/page_alloc_bench")
    for name in ("__init__.py", "runner"):
        guest.copy_to(package / name, f"{HERE}/page_alloc_bench/")

    def drive(script: str) -> Any:
        body = PROLOGUE + textwrap.dedent(script)
        done = guest.run(["python3", "-B", "-c", body], timeout=PATIENCE_S)
        return json.loads(done.stdout)

    return drive


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """One that takes some seconds to clear its memory: time to do things to the child."""
    with Guest("6.1", cpus=CPUS, nodes=2, memory="2G") as booted:
        lab.let_khugepaged_sleep(booted)
        yield booted


@pytest.fixture(scope="module")
def drive(guest: Guest) -> Drive:
    return driver(guest)


def assert_true(limit: dict[str, Any]) -> None:
    """Hold a global result to the kernel's accounts: within 0.1 % or one huge page per CPU."""
    counted = limit["available_bytes"]
    tolerance = max(counted // 1000, CPUS * HUGE)
    assert limit["constraint"] == "CONSTRAINT_NONE"
    assert abs(limit["rss_bytes"] - counted) <= tolerance, limit
    # The kill line counts the child's own memory too: some 6 MiB of it, less than 24.
    assert -tolerance <= limit["oom_rss_bytes"] - counted <= tolerance + (24 << 20), limit
    assert limit["warnings"] == [], limit
    assert counted > 1_700_000_000
    assert 0.05 < limit["duration_s"] < 300


def test_three_in_a_row_agree_with_the_kernel_and_give_all_back(drive: Drive) -> None:
    told = drive("""
        seen, before = [], free()
        limits = [measure(seen.append) for _ in range(3)]
        print(json.dumps({"limits": limits, "seen": seen, "before": before, "after": free(),
                          "child": child()}))
    """)
    limits = told["limits"]
    for limit in limits:
        assert_true(limit)
        assert limit["release_s"] < 5
    counts = [limit["available_bytes"] for limit in limits]
    # What one iteration gets less than another, the kernel has left on the lists of its CPUs.
    totals = [
        limit["available_bytes"] + limit["oom_free_bytes"] + limit["oom_free_pcp_bytes"]
        for limit in limits
    ]
    assert max(totals) - min(totals) <= 0.01 * max(totals), limits
    assert 0 < max(told["seen"]) <= max(counts)
    assert told["child"] is None
    assert abs(told["after"] - told["before"]) <= 0.005 * told["before"], told


def test_watching_the_child_costs_next_to_nothing() -> None:
    """By instructions: where CPUs are emulated, CPU time holds what the host took away."""
    with Guest("6.1", memory="1G", icount=True) as counted:
        told = driver(counted)("""
            seen = []
            cpu, wall = time.process_time(), time.monotonic()
            for _ in range(3):
                measure(seen.append)
            cpu, wall = time.process_time() - cpu, time.monotonic() - wall
            print(json.dumps({"cpu": cpu, "wall": wall, "seen": len(seen)}))
        """)
    assert told["seen"] >= 3
    assert told["cpu"] <= 0.02 * told["wall"], told


def test_huge_pages_as_asked(drive: Drive) -> None:
    told = drive("""
        def huge():
            return int(procfs.vmstat()["thp_fault_alloc"])
        path = "/sys/kernel/mm/transparent_hugepage/enabled"
        before = open(path).read().split("[")[1].split("]")[0]
        told = {}
        try:
            for mode, thp in [("always", "never"), ("madvise", "always"), ("never", "always")]:
                open(path, "w").write(mode)
                start = huge()
                told[thp + " under " + mode] = [measure(thp=thp), huge() - start]
        finally:
            open(path, "w").write(before)
        print(json.dumps(told))
    """)
    limit, huge = told["never under always"]
    assert_true(limit)
    assert huge == 0
    limit, huge = told["always under madvise"]
    assert_true(limit)
    assert huge * HUGE > 0.5 * limit["available_bytes"]
    limit, huge = told["always under never"]
    assert huge == 0


def test_many_small_mappings(drive: Drive) -> None:
    assert_true(drive("print(json.dumps(measure(mapping_bytes=64 << 20)))"))


def test_memory_cgroup_of_known_size(drive: Drive, guest: Guest) -> None:
    size = 512 << 20
    limit = drive(f"""
        group = "/sys/fs/cgroup/findlimit"
        os.mkdir(group)
        try:
            open(group + "/memory.max", "w").write("{size}")
            if os.path.exists(group + "/memory.swap.max"):
                open(group + "/memory.swap.max", "w").write("0")
            open(group + "/cgroup.procs", "w").write(str(os.getpid()))
            limit = measure()
        finally:
            open("/sys/fs/cgroup/cgroup.procs", "w").write(str(os.getpid()))
            os.rmdir(group)
        print(json.dumps(limit))
    """)
    assert limit["constraint"] == "CONSTRAINT_MEMCG"
    # The limit is on what it has; a huge page that a thread just got may not be counted yet.
    assert abs(limit["rss_bytes"] - size) <= 0.01 * size, limit
    assert 0 <= limit["rss_bytes"] - limit["available_bytes"] <= CPUS * HUGE, limit
    assert limit["warnings"] == []


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
@pytest.mark.attempt("{name} to findlimit's child", "no figure", "while it fills memory")
def test_another_death_counts_for_nothing(drive: Drive, name: str) -> None:
    told = drive(f"""
        def kill(populated):
            if populated:
                os.kill(child(), signal.{name})
        try:
            measure(kill)
            print(json.dumps(""))
        except FindlimitError as error:
            print(json.dumps([str(error), child()]))
    """)
    assert told[0].startswith(f"findlimit's child was killed by {name}")
    assert ("no OOM kill of it" in told[0]) == (name == "SIGKILL")
    assert told[1] is None


def test_an_exception_from_a_signal_leaves_no_child(drive: Drive) -> None:
    told = drive("""
        class Stop(BaseException):
            pass
        def stop(*_):
            raise Stop
        signal.signal(signal.SIGALRM, stop)
        before, ends = free(), []
        for delay in (0.001, 0.01, 0.05, 0.2, 1.0):
            signal.setitimer(signal.ITIMER_REAL, delay)
            try:
                measure()
                ends.append("measured")
            except Stop:
                ends.append("stopped" if child() is None else "child left")
        print(json.dumps([ends, before, free(), [int(s) for s in
            signal.pthread_sigmask(signal.SIG_BLOCK, ())]]))
    """)
    ends, before, after, blocked = told
    assert ends == ["stopped"] * 5
    assert abs(after - before) <= 0.005 * before
    assert blocked == []


def test_kill_9_of_the_runner_ends_the_child(drive: Drive) -> None:
    told = drive("""
        before = free()
        pid = os.fork()
        if pid == 0:
            measure()
            os._exit(0)
        while child() is None:
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        deadline = time.monotonic() + 20
        while child() is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        print(json.dumps([child(), before, free()]))
    """)
    left, before, after = told
    assert left is None
    assert abs(after - before) <= 0.005 * before


def test_the_child_holds_nothing_of_the_parents(drive: Drive) -> None:
    told = drive("""
        pipe = os.pipe()
        told = {}
        def look(populated):
            pid = child()
            if populated and pid and not told:
                told["descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
                told["adjusted"] = int(open(f"/proc/{pid}/oom_score_adj").read())
                tasks = os.listdir(f"/proc/{pid}/task")
                told["cpus"] = sorted(sorted(os.sched_getaffinity(int(t))) for t in tasks
                                      if int(t) != pid)
                os.kill(pid, signal.SIGKILL)
        try:
            measure(look)
        except FindlimitError:
            pass
        print(json.dumps(told))
    """)
    assert told == {"descriptors": 0, "adjusted": 1000, "cpus": [[0], [1], [2], [3]]}


def test_a_cpu_that_has_gone_offline_is_named(drive: Drive) -> None:
    """Between the beginning of a run and this child's: memory is to be had all the same."""
    limit = drive("""
        cpus = settings().cpus
        online = f"/sys/devices/system/cpu/cpu{cpus[-1]}/online"
        open(online, "w").write("0")
        try:
            print(json.dumps(dataclasses.asdict(findlimit.measure(findlimit.Settings(cpus=cpus)))))
        finally:
            open(online, "w").write("1")
    """)
    (warning,) = limit["warnings"]
    assert warning.startswith(
        "no thread could run on CPU 3 (offline, or not in the cpuset any more)"
    )
    assert_true({**limit, "warnings": []})


def test_strict_overcommit_is_named(drive: Drive) -> None:
    told = drive("""
        mode, ratio = sysctl("vm.overcommit_memory", "2"), sysctl("vm.overcommit_ratio", "60")
        try:
            measure()
            print(json.dumps(""))
        except FindlimitError as error:
            print(json.dumps(str(error)))
        finally:
            sysctl("vm.overcommit_ratio", ratio)
            sysctl("vm.overcommit_memory", mode)
    """)
    assert told.startswith("findlimit's child gave up: the kernel maps no ")
    assert "more after" in told
    assert "vm.overcommit_memory is 2, CommitLimit" in told


def test_other_victims_are_named(drive: Drive) -> None:
    told = drive("""
        bait = subprocess.Popen([sys.executable, "-c", "import os, time;"
            "open('/proc/self/oom_score_adj', 'w').write('1000');"
            "x = bytearray(b'x') * (1200 << 20); print(flush=True); time.sleep(1000)"],
            stdout=subprocess.PIPE)
        bait.stdout.readline()
        try:
            print(json.dumps([measure(), bait.pid]))
        finally:
            bait.kill()
            bait.wait()
    """)
    limit, pid = told
    assert any(f"the OOM killer also took {pid} (python3)" in line for line in limit["warnings"])


def test_an_allocating_task_is_recognised(drive: Drive) -> None:
    assert_true(
        drive("""
        before = sysctl("vm.oom_kill_allocating_task", "1")
        try:
            print(json.dumps(measure()))
        finally:
            sysctl("vm.oom_kill_allocating_task", before)
    """)
    )


def test_kernel_log_is_clean(drive: Drive, guest: Guest) -> None:
    log = guest.dmesg()
    assert "WARNING" not in log
    assert "BUG" not in log


def test_before_madv_populate_write() -> None:
    with Guest(kernel="5.10", cpus=CPUS, nodes=2, memory="2G") as old:
        told = driver(old)("""
            def maps():
                return open(f"/proc/{child()}/maps").read().count("\\n")
            most = []
            limits = [measure(lambda _: most.append(maps()) if child() else None),
                      measure(thp="never"), measure(thp="always")]
            print(json.dumps([limits, max(most)]))
        """)
    limits, mappings = told
    for limit in limits:
        assert_true(limit)
    assert mappings < 1000

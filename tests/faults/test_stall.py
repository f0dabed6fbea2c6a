# SPDX-License-Identifier: GPL-2.0-only
"""A run in which nothing moves says what the kernel says, ends, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(20)
BENCH = "/root/bench.run"
OPTIONS = "--iterations=2 --alloc-orders=0 --held=200 --spread=100 --stall-s=5"

# Starts the run by the shell line COMMAND, waits for findlimit's child in the phase AT, and does
# the Python in DO with its pid. Says what came of it, and how long that took.
DRIVER = """
import json, os, signal, subprocess, time
def child():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{{name}}/comm") as comm, open(f"/proc/{{name}}/statm") as statm:
                if comm.read() == "pab-findlimit\\n" and int(statm.read().split()[1]) > 20000:
                    return int(name)
        except OSError:
            pass
run = subprocess.Popen({command!r}, shell=True, stdout=open("/root/out", "w"),
                       stderr=subprocess.PIPE, text=True)
said = ""
for line in run.stderr:
    said += line
    if {at!r} in line:
        break
while run.poll() is None and not (pid := child()):
    time.sleep(0.02)
{do}
start = time.monotonic()
said += run.stderr.read()
code = run.wait()
print(json.dumps({{"code": code, "said": said, "seconds": time.monotonic() - start,
                   "out": open("/root/out").read()}}))
"""


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="768M") as guest:
        guest.copy_to(bundle, BENCH)
        lab.install(guest)
        guest.run(f"{BENCH} --iterations=1 --alloc-orders=0 --held=200 --spread=100 --quiet")
        yield guest


def stalled(host: Guest, command: str, at: str, do: str) -> dict[str, Any]:
    """The document of a run that stalled; whatever else is to hold of such a run is checked."""
    free = lab.free_bytes(host)
    told = lab.python(host, DRIVER.format(command=command, at=at, do=do), timeout=PATIENCE_S)
    assert told["code"] == 1, told["said"]
    assert "got no more for 5 s (--stall-s)" in told["said"]
    assert 5 <= told["seconds"] < 60
    document: dict[str, Any] = json.loads(told["out"])
    by_schema.hold(document)
    assert document["run"]["complete"] is False
    assert document["run"]["ended"]["exit_code"] == 1
    stall = document["run"]["stall"]
    assert stall["populated_bytes"] > 0
    assert stall["unkillable"] is False
    assert {task["name"] for task in stall["tasks"]} == {"pab-findlimit"}
    assert len(stall["tasks"]) == 5  # one thread per CPU, and the one that waits for them
    assert "MemAvailable:" in stall["meminfo"]
    assert "oom_kill" in stall["vmstat"]
    assert "Node 1, zone" in stall["zoneinfo"]
    log = "\n".join(stall["kernel_log"])
    assert "Mem-Info:" in log
    assert "sysrq: Show Blocked State" in log
    left = "grep page_alloc_bench /proc/modules; ls /dev/shm; pgrep 'pab|bench'; true"
    assert host.run(left).stdout == ""
    assert lab.free_bytes(host) > free - (12 << 20)
    return document


@pytest.mark.attempt("child stopped (SIGSTOP) for good", "stall recorded, exit 1", "idle, order 0")
def test_a_child_that_was_stopped(host: Guest) -> None:
    document = stalled(host, f"exec {BENCH} {OPTIONS}", "idle", "os.kill(pid, signal.SIGSTOP)")
    stall = document["run"]["stall"]
    assert (stall["phase"], stall["order"], stall["iteration"]) == ("idle", 0, 1)
    assert {task["state"] for task in stall["tasks"]} == {"T (stopped)"}
    assert document["idle_available_bytes_order0"] == []


@pytest.mark.attempt(
    "child stopped (SIGSTOP) for good", "stall recorded, exit 1", "antagonized, order 0"
)
def test_a_child_that_was_stopped_beside_the_antagonist(host: Guest) -> None:
    stop = "os.kill(pid, signal.SIGSTOP)"
    document = stalled(host, f"exec {BENCH} {OPTIONS}", ", antagonized", stop)
    assert document["run"]["stall"]["phase"] == "antagonized"
    assert len(document["idle_available_bytes_order0"]) == 2
    assert document["kernel_page_allocs_order0"][0] > 0


@pytest.mark.attempt("OOM killer finds nobody to kill", "stall recorded, exit 1", "idle, order 0")
def test_an_oom_killer_that_finds_nobody(host: Guest) -> None:
    """In a cgroup: where the whole machine had nobody to kill, the kernel would panic."""
    group = "/sys/fs/cgroup/tight"
    host.run(
        f"echo +memory > /sys/fs/cgroup/cgroup.subtree_control; mkdir {group}; "
        f"echo 64M > {group}/memory.max"
    )
    # What it had before stays charged where it was.
    confine = (
        'open(f"/proc/{pid}/oom_score_adj", "w").write("-1000")\n'
        f'open("{group}/cgroup.procs", "w").write(str(pid))'
    )
    try:
        document = stalled(host, f"exec {BENCH} {OPTIONS}", "idle", confine)
    finally:
        host.run(f"rmdir {group}")
    assert document["run"]["stall"]["populated_bytes"] < 600 << 20
    assert "no killable processes" in host.dmesg()


def test_the_next_run_works_at_once(host: Guest) -> None:
    done = host.run(f"{BENCH} {OPTIONS}")
    assert "stall" not in json.loads(done.stdout)["run"]

# SPDX-License-Identifier: GPL-2.0-only
"""What the runner itself takes of the host: time to start, CPU, memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
from page_alloc_bench.targets.guest import Guest
from perf.figures import Figure, at_most

# bash has the time without a program that would have to be loaded first.
STARTUP = """
measure() {
    sync; echo 3 > /proc/sys/vm/drop_caches
    local start=$EPOCHREALTIME
    "$@" > /dev/null
    local end=$EPOCHREALTIME
    echo -n "$(( ${end/./} - ${start/./} )) "
}
for round in 1 2 3 4 5 6; do
    measure ./bench.run --help; measure python3 -c pass; echo
done
"""

# Runs the bundle and notes the CPU time it has used when its progress lines tell of a new phase;
# looks at its memory twice a second if so asked.
OBSERVE = """
import json, os, re, subprocess, threading, time
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("-999")  # the benchmark must not choose its observer
runner = subprocess.Popen(
    ["./bench.run", "--alloc-orders", "0", "--output-path", "/dev/null"],
    stderr=subprocess.PIPE, text=True)
phase = ["start"]
marks = {}
said = []
def listen():
    for line in runner.stderr:
        said.append(line)
        match = re.search(r"order 0, (idle|steady wait|antagonized|stop) \\(phase ", line)
        if match:
            phase[0] = match[1]
            marks[match[1]] = [time.monotonic(), cpu_s()]

def cpu_s():
    with open(f"/proc/{runner.pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9
def children():
    named = {}
    with open(f"/proc/{runner.pid}/task/{runner.pid}/children") as file:
        for pid in file.read().split():
            with open(f"/proc/{pid}/comm") as name:
                named[name.read().strip()] = pid
    return named
def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Pss:\\s+(\\d+)", file.read(), re.MULTILINE)[1])

listener = threading.Thread(target=listen)
listener.start()
rows = []
while LOOK and runner.poll() is None:
    try:
        around = children()
        rows.append({
            "phase": phase[0], "filling": "pab-findlimit" in around,
            "pss_kib": pss(runner.pid) + pss(around["pab-watchdog"])})
    except (OSError, KeyError):
        pass  # it is starting, or just ended, or a child did just now
    time.sleep(0.5)
status = runner.wait()
listener.join()
print(json.dumps({"rows": rows, "marks": marks, "status": status, "said": said[-5:]}))
"""


def _observe(guest: Guest, bundle: Path, *, look: bool) -> dict[str, Any]:
    guest.copy_to(bundle, "/root/bench.run")
    seen: dict[str, Any] = lab.python(guest, f"LOOK = {look}\n{OBSERVE}", timeout=600)
    assert seen["status"] == 0, seen["said"]
    return seen


def startup(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Start with an empty page cache and nothing of ours unpacked."""
    guest.copy_to(bundle, "/root/bench.run")
    lines = guest.run(["bash", "-c", STARTUP]).stdout.splitlines()
    pairs = [[int(word) for word in line.split()] for line in lines]
    ours, python = (statistics.median(column) for column in zip(*pairs[1:]))
    yield at_most("bench.run --help / python3 -c pass, cold", ours / python, 10)


def cpu(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Compare by instructions: where CPUs are emulated, CPU time holds what the host took away."""
    marks = _observe(guest, bundle, look=False)["marks"]
    (wall, used), (wall_end, used_end) = marks["idle"], marks["steady wait"]
    share = 100 * (used_end - used) / (wall_end - wall)
    yield at_most("runner's CPU time in the idle phase, % of wall", share, 2)


def memory(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Observe a whole run from outside."""
    rows = _observe(guest, bundle, look=True)["rows"]
    idle = [row for row in rows if row["phase"] == "idle"]
    antagonized = [row for row in rows if row["phase"] == "antagonized"]
    most = max(row["pss_kib"] for row in idle + antagonized)
    yield at_most("PSS of runner and watchdog, MB", most * 1024 / 1e6, 25)
    change = abs(_filling_kib(antagonized) - _filling_kib(idle)) * 1024 / 1e6
    yield at_most("its change from idle to antagonized, MB", change, 1)


def _filling_kib(rows: list[dict[str, Any]]) -> float:
    """The median PSS while a findlimit child shares the runner's pages: compare like with like."""
    return statistics.median(row["pss_kib"] for row in rows if row["filling"])

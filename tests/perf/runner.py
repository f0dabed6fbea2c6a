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

# Runs the bundle and looks at it twice a second, knowing the phase from its progress lines.
FOOTPRINT = """
import json, os, re, subprocess, threading, time
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("-999")  # the benchmark must not choose its observer
runner = subprocess.Popen(
    ["./bench.run", "--iterations", "3", "--alloc-orders", "0", "--output-path", "/dev/null"],
    stderr=subprocess.PIPE, text=True)
phase = ["start"]
said = []
def listen():
    for line in runner.stderr:
        said.append(line)
        match = re.search(r"order 0, (idle|steady wait|antagonized|stop)$", line.strip())
        if match:
            phase[0] = match[1]
threading.Thread(target=listen, daemon=True).start()

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
def cpu_ns():
    with open(f"/proc/{runner.pid}/schedstat") as file:
        return int(file.read().split()[0])

rows = []
while runner.poll() is None:
    try:
        around = children()
        rows.append({
            "phase": phase[0], "time": time.monotonic(), "cpu_ns": cpu_ns(),
            "pss_kib": pss(runner.pid) + pss(around["pab-watchdog"]),
            "filling": "pab-findlimit" in around})
    except (OSError, KeyError):
        pass  # it is starting, or just ended, or a child did just now
    time.sleep(0.5)
print(json.dumps({"rows": rows, "status": runner.returncode, "said": said[-5:]}))
"""


def startup(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Start with an empty page cache and nothing of ours unpacked."""
    guest.copy_to(bundle, "/root/bench.run")
    lines = guest.run(["bash", "-c", STARTUP]).stdout.splitlines()
    pairs = [[int(word) for word in line.split()] for line in lines]
    ours, python = (statistics.median(column) for column in zip(*pairs[1:]))
    yield at_most("bench.run --help / python3 -c pass, cold", ours / python, 10)


def footprint(guest: Guest, bundle: Path) -> Iterator[Figure]:
    """Observe a whole run from outside."""
    guest.copy_to(bundle, "/root/bench.run")
    seen = lab.python(guest, FOOTPRINT, timeout=600)
    assert seen["status"] == 0, seen["said"]
    idle = [row for row in seen["rows"] if row["phase"] == "idle"]
    antagonized = [row for row in seen["rows"] if row["phase"] == "antagonized"]
    wall_s = idle[-1]["time"] - idle[0]["time"]
    cpu_s = (idle[-1]["cpu_ns"] - idle[0]["cpu_ns"]) / 1e9
    yield at_most("runner's CPU time in the idle phase, % of wall", 100 * cpu_s / wall_s, 2)
    most = max(row["pss_kib"] for row in idle + antagonized)
    yield at_most("PSS of runner and watchdog, MB", most * 1024 / 1e6, 25)
    change = abs(_filling_kib(antagonized) - _filling_kib(idle)) * 1024 / 1e6
    yield at_most("its change from idle to antagonized, MB", change, 1)


def _filling_kib(rows: list[dict[str, Any]]) -> float:
    """The median PSS while a findlimit child shares the runner's pages: compare like with like."""
    return statistics.median(row["pss_kib"] for row in rows if row["filling"])

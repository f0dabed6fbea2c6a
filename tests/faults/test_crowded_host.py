# SPDX-License-Identifier: GPL-2.0-only
"""Workloads that measure rates, on a host whose memory others use: nobody is killed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S, in_a_guest

BENCH = "/root/bench.run"
USED = 0.95  # of all memory
# Takes it, says so, and touches it again and again, as what is in use is.
OTHER = """
import mmap, re, time
def read(name):
    return int(re.search(name + ": +(\\\\d+)", open("/proc/meminfo").read())[1]) << 10
taken = mmap.mmap(-1, int(read("MemAvailable") - (1 - {used}) * read("MemTotal")))
while True:
    for page in range(0, len(taken), 4096):
        taken[page] = 1
    open("/root/taken", "w").close()
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="2G") as guest:
        guest.copy_to(bundle, BENCH)
        yield guest


def kills(host: Guest) -> int:
    match = re.search(r"^oom_kill (\d+)$", host.run("cat /proc/vmstat").stdout, re.MULTILINE)
    assert match
    return int(match[1])


def test_nobody_is_killed_on_a_host_whose_memory_others_use(host: Guest) -> None:
    script = OTHER.format(used=USED)
    host.run(["tee", "/root/other.py"], input=script)
    other = host.popen("exec python3 /root/other.py")
    try:
        assert in_a_guest(
            lambda: host.run("test -e /root/taken", check=False).returncode == 0, PATIENCE_S
        )
        before = kills(host)
        rates = "pairs,bursts,remote,funnel,bulk"
        done = host.run(
            f"{BENCH} --workload {rates} --quick --duration-s 0.3 --gfp kernel,atomic "
            "--output-path /root/result.json",
            check=False,
            timeout=PATIENCE_S,
        )
        result = json.loads(host.run("cat /root/result.json").stdout)
        assert done.returncode == 0, done.stderr
        assert result["run"]["complete"]
        assert kills(host) == before
        assert other.poll() is None
        # The deepest bursts would hold more than a quarter of what is left, and are left out.
        for name in rates.split(","):
            (told,) = (w for w in result["run"]["workloads"] if w["name"] == name)
            assert told["cases"], name
            for case in told["cases"]:
                assert case["held_bytes"] < (1 - USED) * (2 << 30) / 4
    finally:
        other.kill()
        host.run("pkill -f /root/other.py", check=False)
